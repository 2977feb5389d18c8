/*
 * Random numbers: from the generator outside the heap, whose key is new for each
 * request; a heap that is put back would else repeat itself.
 */
(function (own) {
	'use strict';

	var QUOTA = 65536;
	var random = own.host.random;
	var randomBytes = own.host.randomBytes;
	var crypto = {};
	var classOf = own.free(Object.prototype.toString);
	var set = own.free(Uint8Array.prototype.set);
	var HEX = '0123456789abcdef';
	var integers = /^\[object (Int8|Uint8|Uint8Clamped|Int16|Uint16|Int32|Uint32)Array\]$/;

	own.define(Math, 'random', function () {
		return random();
	});
	own.define(Math.random, 'name', 'random');

	own.methods(crypto, {
		getRandomValues: function getRandomValues(array) {
			if (!own.isView(array) || !own.test(integers, classOf(array)))
				throw new DOMException('The data is not an integer-typed array',
				    'TypeMismatchError');
			if (array.byteLength > QUOTA)
				throw new DOMException('More than ' + QUOTA + ' bytes at once',
				    'QuotaExceededError');
			set(new own.Uint8Array(array.buffer, array.byteOffset, array.byteLength),
			    randomBytes(array.byteLength));
			return array;
		},
		randomUUID: function randomUUID() {
			var bytes = randomBytes(16), text = '', i;

			bytes[6] = bytes[6] & 0x0f | 0x40;
			bytes[8] = bytes[8] & 0x3f | 0x80;
			for (i = 0; i < 16; i++) {
				if (i === 4 || i === 6 || i === 8 || i === 10)
					text += '-';
				text += HEX[bytes[i] >> 4] + HEX[bytes[i] & 15];
			}
			return text;
		}
	});
	own.define(own.global, 'crypto', crypto);
})(__host.own);
