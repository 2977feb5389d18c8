/*
 * What a contract shall not find: Duktape's own inventions, which packages would
 * take for Node's or for a standard, and proposals that core-js brings along.
 */
(function (own) {
	'use strict';

	var names = [
		'Buffer', 'CBOR', 'setImmediate', 'clearImmediate', 'Observable', 'compositeKey',
		'compositeSymbol', '__core-js_shared__'
	];
	var arrays = [
		Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array,
		Uint32Array, Float32Array, Float64Array
	];
	var i;

	for (i = 0; i < names.length; i++)
		delete own.global[names[i]];
	delete Uint8Array.allocPlain;
	delete Uint8Array.plainOf;

	/*
	 * core-js's JSON.stringify costs many times what Duktape's does, for the sake
	 * of one thing: surrogates without a partner leave as \ud83d.  Do just that;
	 * encodeURIComponent finds them faster than a regular expression.
	 */
	var stringify = own.stringify;
	var encode = encodeURIComponent;
	var units = /[\ud800-\udbff][\udc00-\udfff]|[\ud800-\udfff]/g;
	var toHex = own.free(Number.prototype.toString);

	own.define(JSON, 'stringify', function (value, replacer, space) {
		var text = stringify(value, replacer, space);

		if (typeof text !== 'string')
			return text;
		try {
			encode(text);
			return text;
		} catch (e) {
			if (!(e instanceof own.URIError))
				throw e;
		}
		return own.replace(text, units, function (c) {
			return c.length === 2 ? c : '\\u' + toHex(own.charCodeAt(c, 0), 16);
		});
	});
	own.define(JSON.stringify, 'name', 'stringify');
	own.Promise = Promise;

	own.promise = function (fn) {
		return new own.Promise(function (resolve, reject) {
			try {
				resolve(fn());
			} catch (e) {
				reject(e);
			}
		});
	};
})(__host.own);
