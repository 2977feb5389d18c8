/*
 * What the files that follow share: a namespace that no contract sees, and the
 * language's own functions as they were before a contract could replace them.
 *
 * The rule for code that may run after a contract's: no method is called through
 * a prototype, no property is read that may be missing from an ordinary object,
 * nothing is appended to an ordinary array (a setter on Array.prototype would see
 * it).  So: own.free() functions, objects without a prototype, own.list().
 */
(function (host) {
	'use strict';

	var own = Object.create(null);
	var call = Function.prototype.call;
	var create = Object.create;
	var define = Object.defineProperty;
	var setPrototypeOf = Object.setPrototypeOf;
	var arrayPrototype = Array.prototype;
	var global = new Function('return this')();

	host.own = own;
	own.host = host;
	own.global = global;
	own.apply = Reflect.apply;
	own.construct = Reflect.construct;
	own.create = create;
	own.keys = Object.keys;
	own.isArray = Array.isArray;
	own.setPrototypeOf = setPrototypeOf;
	own.parse = JSON.parse;
	own.stringify = JSON.stringify;
	own.String = String;
	own.Uint8Array = Uint8Array;
	own.ArrayBuffer = ArrayBuffer;
	own.ITERATOR = Symbol.iterator;
	own.isView = ArrayBuffer.isView;
	own.floor = Math.floor;

	/* A method as a function whose first argument is the object. */
	own.free = function (method) {
		return call.bind(method);
	};
	own.charCodeAt = own.free(String.prototype.charCodeAt);
	own.indexOf = own.free(String.prototype.indexOf);
	own.lower = own.free(String.prototype.toLowerCase);
	own.upper = own.free(String.prototype.toUpperCase);
	own.slice = own.free(String.prototype.slice);
	own.exec = own.free(RegExp.prototype.exec);
	own.replace = own.free(String.prototype.replace);

	/* For regular expressions without the g flag. */
	own.test = function (re, text) {
		return own.exec(re, text) !== null;
	};

	/* An array that inherits nothing; own.array() makes an ordinary one of it. */
	own.list = function () {
		return setPrototypeOf([], null);
	};
	own.array = function (list) {
		return setPrototypeOf(list, arrayPrototype);
	};

	/* An ordinary property for a contract to see; not by assignment: setters. */
	own.put = function (object, name, value) {
		var d = create(null);

		d.value = value;
		d.writable = d.enumerable = d.configurable = true;
		define(object, name, d);
	};

	/* A property such as built-in methods are. */
	own.define = function (object, name, value) {
		var d = create(null);

		d.value = value;
		d.writable = d.configurable = true;
		d.enumerable = false;
		define(object, name, d);
	};
	/* One that stays as it is. */
	own.fix = function (object, name, value) {
		var d = create(null);

		d.value = value;
		d.writable = d.enumerable = d.configurable = false;
		define(object, name, d);
	};
	own.getter = function (object, name, get, set) {
		var d = create(null);

		d.get = get;
		d.set = set;
		d.enumerable = d.configurable = true;
		define(object, name, d);
	};
	own.methods = function (object, methods) {
		var names = own.keys(methods), i;

		for (i = 0; i < names.length; i++)
			own.define(object, names[i], methods[names[i]]);
	};

	/* A key for private state. */
	own.hidden = host.hidden;

	own.isObject = function (value) {
		return typeof value === 'object' ? value !== null : typeof value === 'function';
	};

	/* fn(value) for each value of an iterable, arrays without asking their iterator. */
	own.iterate = function (iterable, fn) {
		var i, next, step, iterator;

		if (own.isArray(iterable)) {
			for (i = 0; i < iterable.length; i++)
				fn(iterable[i]);
			return;
		}
		iterator = own.apply(iterable[own.ITERATOR], iterable, []);
		next = iterator.next;
		while (!(step = own.apply(next, iterator, [])).done)
			fn(step.value);
	};

	/*
	 * What must be undone when a request begins (a heap may be used again).  A variable
	 * that is written needlessly makes its page one of the image's own, which is put
	 * back after each request: so a reset leaves alone what is clean.
	 */
	var resets = own.list();

	own.onBegin = function (reset) {
		resets[resets.length] = reset;
	};
	own.begin = function (request) {
		var i;

		own.request = request;
		for (i = 0; i < resets.length; i++)
			resets[i](request);
	};
	own.request = null;
})(__host);
