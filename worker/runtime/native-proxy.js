/*
 * Duktape's Proxy hands array indices to its traps as numbers, and there is no
 * Proxy.revocable.  Ours gives Duktape a handler of its own that forwards.
 */
(function (own) {
	'use strict';

	var Native = own.global.Proxy;
	var apply = own.apply;
	var ownKeys = Reflect.ownKeys;

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
			throw new TypeError('Cannot perform \'' + name + '\' on a proxy that has been revoked');
		return trap(cell.handler, name);
	}

	function forward(cell, callable) {
		var f = own.create(null);

		f.get = function (target, k, receiver) {
			var fn = live(cell, 'get');

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
			return fn === undefined ? k in target : apply(fn, cell.handler, [target, k]);
		};
		f.deleteProperty = function (target, k) {
			var fn = live(cell, 'deleteProperty');

			k = key(k);
			return fn === undefined ? Reflect.deleteProperty(target, k) :
			    apply(fn, cell.handler, [target, k]);
		};
		f.ownKeys = function (target) {
			var fn = live(cell, 'ownKeys');

			return fn === undefined ? ownKeys(target) : apply(fn, cell.handler, [target]);
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
			throw new TypeError('Cannot create proxy with a non-object as target or handler');
		cell.handler = handler;
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
})(__host.own);
