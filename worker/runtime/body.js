/*
 * Bodies of requests and responses.  In a state, `body` is null, a string or a
 * Uint8Array that nobody else holds; `used` says that it was read.
 */
(function (own) {
	'use strict';

	var bytesOf = own.free(own.Uint8Array.prototype.slice);
	var bufferSlice = own.free(own.ArrayBuffer.prototype.slice);
	var usp = own.free(URLSearchParams.prototype.toString);
	own.Params = URLSearchParams;

	/* What a caller gave as a body: { body, type }. */
	own.takeBody = function (value) {
		var taken = own.create(null);

		taken.type = null;
		if (value === undefined || value === null) {
			taken.body = null;
		} else if (typeof value === 'string') {
			taken.body = value;
			taken.type = 'text/plain;charset=UTF-8';
		} else if (own.isView(value)) {
			taken.body = new own.Uint8Array(
			    bufferSlice(value.buffer, value.byteOffset,
			    value.byteOffset + value.byteLength));
		} else if (value instanceof own.ArrayBuffer) {
			taken.body = new own.Uint8Array(bufferSlice(value, 0));
		} else if (value instanceof own.Params) {
			taken.body = usp(value);
			taken.type = 'application/x-www-form-urlencoded;charset=UTF-8';
		} else {
			taken.body = own.String(value);
			taken.type = 'text/plain;charset=UTF-8';
		}
		return taken;
	};

	function text(body) {
		if (body === null)
			return '';
		return typeof body === 'string' ? body : own.decode(body, false);
	}

	function bytes(body) {
		if (body === null)
			return new own.Uint8Array(0);
		return typeof body === 'string' ? own.encode(body) : bytesOf(body, 0);
	}

	/* The methods that Request and Response have in common. */
	own.bodyMethods = function (prototype, state) {
		function reader(read) {
			return function () {
				var self = this;

				return own.promise(function () {
					var s = state(self);

					if (s.used)
						throw new TypeError(
						    'Body is unusable: Body has already been read');
					s.used = s.body !== null;
					return read(s.body);
				});
			};
		}

		own.getter(prototype, 'bodyUsed', function () {
			return state(this).used;
		});
		own.methods(prototype, {
			text: reader(text),
			json: reader(function (body) {
				return own.parse(text(body));
			}),
			bytes: reader(bytes),
			arrayBuffer: reader(function (body) {
				return bytes(body).buffer;
			})
		});
	};
})(__host.own);
