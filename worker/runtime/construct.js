/*
 * Reflect.construct with another new.target.  Duktape has none, and core-js calls
 * the constructor as a function then: a class that extends Date or Array would
 * not be one.  A built-in is constructed as itself and given its prototype after.
 */
(function (own) {
	'use strict';

	var general = Reflect.construct;
	var natives = [
		Array, ArrayBuffer, Boolean, DataView, Date, Function, Number, RegExp, String,
		Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError,
		Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array,
		Uint32Array, Float32Array, Float64Array
	];
	var indexOf = own.free(Array.prototype.indexOf);

	own.define(Reflect, 'construct', function construct(target, args, newTarget) {
		var made, proto;

		if (arguments.length < 3 || newTarget === target)
			return own.construct(target, args);
		if (typeof newTarget !== 'function')
			throw new TypeError('Reflect.construct: newTarget is not a constructor');
		if (target === Object)
			return own.create(own.isObject(newTarget.prototype) ? newTarget.prototype :
			    Object.prototype);
		if (indexOf(natives, target) < 0)
			return general(target, args, newTarget);
		made = own.construct(target, args);
		own.trim(made);
		proto = newTarget.prototype;
		return own.isObject(proto) ? own.setPrototypeOf(made, proto) : made;
	});

	/* Not earlier: core-js asks it at every turn, and never about a proxy. */
	own.askProxies('hasOwnProperty', null);
})(__host.own);
