/*
 * AbortController and AbortSignal.
 */
(function (own) {
	'use strict';

	var STATE = own.hidden('abort');
	var making = false;

	function state(object) {
		var s = own.isObject(object) ? object[STATE] : undefined;

		if (s === undefined)
			throw new TypeError('Illegal invocation');
		return s;
	}

	function AbortSignal() {
		var s = own.create(null);

		if (!making)
			throw new TypeError('Illegal constructor');
		s.aborted = false;
		s.reason = undefined;
		s.onabort = null;
		this[STATE] = s;
	}
	AbortSignal.prototype = own.create(own.EventTarget.prototype);
	own.define(AbortSignal.prototype, 'constructor', AbortSignal);
	own.getter(AbortSignal.prototype, 'aborted', function () {
		return state(this).aborted;
	});
	own.getter(AbortSignal.prototype, 'reason', function () {
		return state(this).reason;
	});
	own.getter(AbortSignal.prototype, 'onabort', function () {
		return state(this).onabort;
	}, function (fn) {
		state(this).onabort = typeof fn === 'function' ? fn : null;
	});
	own.methods(AbortSignal.prototype, {
		throwIfAborted: function throwIfAborted() {
			var s = state(this);

			if (s.aborted)
				throw s.reason;
		}
	});

	function make() {
		making = true;
		try {
			return new AbortSignal();
		} finally {
			making = false;
		}
	}

	function abort(signal, reason) {
		var s = state(signal), event;

		if (s.aborted)
			return;
		s.aborted = true;
		s.reason = reason !== undefined ? reason :
		    new DOMException('This operation was aborted', 'AbortError');
		event = new own.Event('abort');
		if (s.onabort !== null) {
			try {
				own.apply(s.onabort, signal, [event]);
			} catch (e) {
				own.uncaught(e);
			}
		}
		own.dispatch(signal, event);
	}

	var listen = own.free(own.EventTarget.prototype.addEventListener);

	function follow(signal, other) {
		listen(other, 'abort', function () {
			abort(signal, state(other).reason);
		}, { once: true });
	}

	own.methods(AbortSignal, {
		abort: function (reason) {
			var signal = make();

			abort(signal, reason);
			return signal;
		},
		timeout: function timeout(ms) {
			var signal = make();

			own.after(ms, function () {
				abort(signal, new DOMException(
				    'The operation was aborted due to timeout', 'TimeoutError'));
			});
			return signal;
		},
		any: function any(signals) {
			var signal = make();

			own.iterate(signals, function (one) {
				if (state(one).aborted)
					abort(signal, state(one).reason);
				else
					follow(signal, one);
			});
			return signal;
		}
	});

	var SIGNAL = own.hidden('signal');

	function AbortController() {
		if (!(this instanceof AbortController))
			throw new TypeError('Constructor AbortController requires \'new\'');
		this[SIGNAL] = make();
	}
	own.getter(AbortController.prototype, 'signal', function () {
		return this[SIGNAL];
	});
	own.methods(AbortController.prototype, {
		abort: function (reason) {
			abort(this[SIGNAL], reason);
		}
	});

	own.define(own.global, 'AbortSignal', AbortSignal);
	own.define(own.global, 'AbortController', AbortController);
})(__host.own);
