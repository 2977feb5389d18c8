/*
 * Duktape's Proxy hands array indices to its traps as numbers, has half of the
 * traps only -- Object.defineProperty on a proxy changes neither it nor its
 * target -- and there is no Proxy.revocable.  Ours gives Duktape a handler of its
 * own that forwards, and the functions that reflect ask it for the rest.
 */
(function (own) {
	'use strict';

	var Native = own.global.Proxy;
	var apply = own.apply;
	var ownKeys = Reflect.ownKeys;

	var CELL = Symbol('cell');	/* a proxy answers with its cell */

	function key(k) {
		return typeof k === 'number' ? '' + k : k;
	}

	function trap(handler, name) {
		var fn = handler[name];

		if (fn === undefined || fn === null)
			return undefined;
		if (typeof fn !== 'function')
			throw new TypeError('Proxy handler\'s ' + name + ' is not a function');
		return fn;
	}

	/* `cell.handler` is null once the proxy is revoked. */
	function live(cell, name) {
		if (cell.handler === null)
			throw new TypeError('Cannot perform \'' + name +
			    '\' on a proxy that has been revoked');
		return trap(cell.handler, name);
	}

	function forward(cell, callable) {
		var f = own.create(null);

		f.get = function (target, k, receiver) {
			var fn;

			if (k === CELL)
				return cell;
			fn = live(cell, 'get');

			k = key(k);
			return fn === undefined ? Reflect.get(target, k, receiver) :
			    apply(fn, cell.handler, [target, k, receiver]);
		};
		f.set = function (target, k, value, receiver) {
			var fn = live(cell, 'set');

			k = key(k);
			return fn === undefined ? Reflect.set(target, k, value, receiver) :
			    apply(fn, cell.handler, [target, k, value, receiver]);
		};
		f.has = function (target, k) {
			var fn = live(cell, 'has');

			k = key(k);
			return fn === undefined ? k in target :
			    apply(fn, cell.handler, [target, k]);
		};
		f.deleteProperty = function (target, k) {
			var fn = live(cell, 'deleteProperty');

			k = key(k);
			return fn === undefined ? Reflect.deleteProperty(target, k) :
			    apply(fn, cell.handler, [target, k]);
		};
		f.ownKeys = function (target) {
			var fn = live(cell, 'ownKeys');

			return fn === undefined ? ownKeys(target) :
			    apply(fn, cell.handler, [target]);
		};
		if (callable) {
			f.apply = function (target, self, args) {
				var fn = live(cell, 'apply');

				return fn === undefined ? apply(target, self, args) :
				    apply(fn, cell.handler, [target, self, args]);
			};
			f.construct = function (target, args, newTarget) {
				var fn = live(cell, 'construct');

				return fn === undefined ? own.construct(target, args) :
				    apply(fn, cell.handler, [target, args, newTarget]);
			};
		}
		return f;
	}

	function make(target, handler) {
		var cell = own.create(null);

		if (!own.isObject(target) || !own.isObject(handler))
			throw new TypeError(
			    'Cannot create proxy with a non-object as target or handler');
		cell.handler = handler;
		cell.target = target;
		cell.proxy = new Native(target, forward(cell, typeof target === 'function'));
		return cell;
	}

	function Proxy(target, handler) {
		if (new.target === undefined)
			throw new TypeError('Constructor Proxy requires \'new\'');
		return make(target, handler).proxy;
	}

	own.define(Proxy, 'revocable', function revocable(target, handler) {
		var cell = make(target, handler);

		return {
			proxy: cell.proxy,
			revoke: function () {
				cell.handler = null;
			}
		};
	});
	Proxy.prototype = undefined;
	own.define(own.global, 'Proxy', Proxy);

	/* ---- the traps that Duktape lacks ---- */

	/* The object's cell if it is a proxy itself, and does not just inherit from one. */
	function cellOf(object) {
		var cell = own.isObject(object) ? object[CELL] : undefined;

		return cell !== undefined && cell.proxy === object ? cell : undefined;
	}

	/* Object[name] and Reflect[name]; both answer a value, or the object and a success. */
	function reflect(name, answers) {
		function patch(holder) {
			var native = holder[name];

			own.define(holder, name, function (object, a, b) {
				var cell = cellOf(object), fn;

				if (cell === undefined)
					return native(object, a, b);
				fn = live(cell, name);
				if (fn === undefined)
					return answers === 'object' && holder === Object ?
					    (holder[name](cell.target, a, b), object) :
					    holder[name](cell.target, a, b);
				fn = apply(fn, cell.handler, [cell.target, key(a), b]);
				if (answers !== 'object')
					return fn;
				if (holder === Reflect)
					return !!fn;
				if (!fn)
					throw new TypeError('\'' + name +
					    '\' on proxy: trap returned falsish');
				return object;
			});
			own.define(holder[name], 'name', name);
		}

		patch(Object);
		patch(Reflect);
	}
	reflect('getOwnPropertyDescriptor', 'value');
	reflect('defineProperty', 'object');
	reflect('getPrototypeOf', 'value');
	reflect('setPrototypeOf', 'object');
	reflect('isExtensible', 'value');
	reflect('preventExtensions', 'object');

	/* Those without a trap of their own: freezing reaches the target. */
	function pass(name, answersObject) {
		var native = Object[name];

		own.define(Object, name, function (object) {
			var cell = cellOf(object), answer;

			if (cell === undefined)
				return native(object);
			live(cell, name);
			answer = Object[name](cell.target);
			return answersObject ? object : answer;
		});
		own.define(Object[name], 'name', name);
	}
	pass('freeze', true);
	pass('seal', true);
	pass('isFrozen', false);
	pass('isSealed', false);

	own.askProxies = function (name, answer) {
		var native = own.free(Object.prototype[name]);

		own.define(Object.prototype, name, function (k) {
			var descriptor;

			if (cellOf(this) === undefined)
				return native(this, k);
			k = typeof k === 'symbol' ? k : own.String(k);
			descriptor = Object.getOwnPropertyDescriptor(this, k);
			return descriptor !== undefined && (answer === null || descriptor[answer]);
		});
		own.define(Object.prototype[name], 'name', name);
	};
	own.askProxies('propertyIsEnumerable', 'enumerable');
})(__host.own);
