/*
 * TextEncoder and TextDecoder on Duktape's, which take any label for UTF-8 and
 * lack encodeInto and the names of their options.
 */
(function (own) {
	'use strict';

	var NativeEncoder = own.global.TextEncoder;
	var NativeDecoder = own.global.TextDecoder;
	var encode = own.free(NativeEncoder.prototype.encode);
	var decode = own.free(NativeDecoder.prototype.decode);
	var encoder = new NativeEncoder();
	var STATE = own.hidden('decoder');
	var labels =
	    'unicode-1-1-utf-8|unicode11utf8|unicode20utf8|utf-8|utf8|x-unicode20utf8';
	var utf8 = new RegExp('^[\\t\\n\\f\\r ]*(' + labels + ')[\\t\\n\\f\\r ]*$', 'i');
	var set = own.free(own.Uint8Array.prototype.set);

	/* Text to a Uint8Array of its own. */
	own.encode = function (text) {
		var bytes = encode(encoder, text);

		return bytes.constructor === own.Uint8Array ? bytes : new own.Uint8Array(bytes);
	};

	/* UTF-8 to text; with `fatal`, undefined for what is not UTF-8. */
	own.decode = function (bytes, fatal) {
		var options = own.create(null);

		options.fatal = fatal;
		options.ignoreBOM = false;
		try {
			return decode(new NativeDecoder('utf-8', options), bytes);
		} catch (e) {
			if (fatal && e instanceof own.TypeError)
				return undefined;
			throw e;
		}
	};

	function TextEncoder() {
		if (!(this instanceof TextEncoder))
			throw new TypeError('Constructor TextEncoder requires \'new\'');
	}
	own.getter(TextEncoder.prototype, 'encoding', function () {
		return 'utf-8';
	});
	own.methods(TextEncoder.prototype, {
		encode: function encode(text) {
			return own.encode(text === undefined ? '' : own.String(text));
		},
		encodeInto: function encodeInto(text, target) {
			var read = 0, written = 0, units, unit, bytes;

			text = own.String(text);
			if (!own.isView(target))
				throw new TypeError('encodeInto: the target is not a Uint8Array');
			while (read < text.length) {
				unit = own.charCodeAt(text, read);
				units = unit >= 0xd800 && unit < 0xdc00 && read + 1 < text.length &&
				    (own.charCodeAt(text, read + 1) & 0xfc00) === 0xdc00 ? 2 : 1;
				bytes = encode(encoder, own.slice(text, read, read + units));
				if (written + bytes.length > target.length)
					break;
				set(target, bytes, written);
				written += bytes.length;
				read += units;
			}
			return { read: read, written: written };
		}
	});

	function TextDecoder(label, options) {
		var state = own.create(null), settings = own.create(null);

		if (!(this instanceof TextDecoder))
			throw new TypeError('Constructor TextDecoder requires \'new\'');
		label = label === undefined ? 'utf-8' : own.String(label);
		if (!own.test(utf8, label))
			throw new RangeError('TextDecoder: the encoding \'' + label +
			    '\' is not available in this version of tana-edge');
		state.fatal = settings.fatal = options ? !!options.fatal : false;
		state.ignoreBOM = settings.ignoreBOM = options ? !!options.ignoreBOM : false;
		state.native = new NativeDecoder('utf-8', settings);
		this[STATE] = state;
	}
	function state(decoder) {
		var s = decoder[STATE];

		if (s === undefined)
			throw new TypeError('Illegal invocation');
		return s;
	}
	own.getter(TextDecoder.prototype, 'encoding', function () {
		return 'utf-8';
	});
	own.getter(TextDecoder.prototype, 'fatal', function () {
		return state(this).fatal;
	});
	own.getter(TextDecoder.prototype, 'ignoreBOM', function () {
		return state(this).ignoreBOM;
	});
	own.methods(TextDecoder.prototype, {
		decode: function (input, options) {
			var s = state(this), settings = own.create(null);

			settings.stream = options ? !!options.stream : false;
			if (input === undefined)
				input = new own.Uint8Array(0);
			return decode(s.native, input, settings);
		}
	});

	own.define(own.global, 'TextEncoder', TextEncoder);
	own.define(own.global, 'TextDecoder', TextDecoder);
})(__host.own);
