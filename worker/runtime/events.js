/*
 * Event, CustomEvent and EventTarget: without a tree, so without capture and
 * bubbling.
 */
(function (own) {
	'use strict';

	var STATE = own.hidden('event');
	var LISTENERS = own.hidden('listeners');

	function state(event) {
		var s = own.isObject(event) ? event[STATE] : undefined;

		if (s === undefined)
			throw new TypeError('Illegal invocation');
		return s;
	}

	function Event(type, init) {
		var s = own.create(null);

		if (!(this instanceof Event))
			throw new TypeError('Constructor Event requires \'new\'');
		if (arguments.length === 0)
			throw new TypeError('Event: the type is missing');
		s.type = own.String(type);
		s.cancelable = init ? !!init.cancelable : false;
		s.bubbles = init ? !!init.bubbles : false;
		s.composed = init ? !!init.composed : false;
		s.prevented = s.stopped = s.dispatching = false;
		s.target = null;
		s.stamp = own.monotonic();
		this[STATE] = s;
	}
	function attribute(name, get) {
		own.getter(Event.prototype, name, function () {
			return get(state(this));
		});
	}
	attribute('type', function (s) { return s.type; });
	attribute('target', function (s) { return s.target; });
	attribute('currentTarget', function (s) { return s.dispatching ? s.target : null; });
	attribute('srcElement', function (s) { return s.target; });
	attribute('cancelable', function (s) { return s.cancelable; });
	attribute('bubbles', function (s) { return s.bubbles; });
	attribute('composed', function (s) { return s.composed; });
	attribute('defaultPrevented', function (s) { return s.prevented; });
	attribute('eventPhase', function (s) { return s.dispatching ? 2 : 0; });
	attribute('timeStamp', function (s) { return s.stamp; });
	attribute('isTrusted', function () { return false; });
	own.methods(Event.prototype, {
		preventDefault: function preventDefault() {
			var s = state(this);

			if (s.cancelable)
				s.prevented = true;
		},
		stopPropagation: function stopPropagation() {
		},
		stopImmediatePropagation: function stopImmediatePropagation() {
			state(this).stopped = true;
		},
		composedPath: function composedPath() {
			var s = state(this);

			return s.dispatching ? [s.target] : [];
		}
	});

	var DETAIL = own.hidden('detail');

	function CustomEvent(type, init) {
		if (!(this instanceof CustomEvent))
			throw new TypeError('Constructor CustomEvent requires \'new\'');
		own.apply(Event, this, arguments.length === 0 ? [] : [type, init]);
		this[DETAIL] = init && init.detail !== undefined ? init.detail : null;
	}
	CustomEvent.prototype = own.create(Event.prototype);
	own.define(CustomEvent.prototype, 'constructor', CustomEvent);
	own.getter(CustomEvent.prototype, 'detail', function () {
		return this[DETAIL];
	});

	/* Made at the first use, so that classes may extend EventTarget as they like. */
	function listeners(target) {
		var list = target[LISTENERS];

		if (list === undefined) {
			if (!own.isObject(target))
				throw new TypeError('Illegal invocation');
			list = target[LISTENERS] = own.list();
		}
		return list;
	}

	function find(list, type, callback) {
		var i;

		for (i = 0; i < list.length; i++)
			if (list[i].type === type && list[i].callback === callback)
				return i;
		return -1;
	}

	function drop(list, i) {
		list[i].gone = true;
		for (; i + 1 < list.length; i++)
			list[i] = list[i + 1];
		list.length--;
	}

	function EventTarget() {
		if (!(this instanceof EventTarget))
			throw new TypeError('Constructor EventTarget requires \'new\'');
	}
	own.methods(EventTarget.prototype, {
		addEventListener: function addEventListener(type, callback, options) {
			var list = listeners(this), entry = own.create(null), signal;

			if (callback === null || callback === undefined)
				return;
			if (!own.isObject(callback))
				throw new TypeError(
				    'addEventListener: the listener is not a function');
			entry.type = own.String(type);
			if (find(list, entry.type, callback) >= 0)
				return;
			signal = own.isObject(options) ? options.signal : undefined;
			if (signal && signal.aborted)
				return;
			entry.callback = callback;
			entry.once = own.isObject(options) ? !!options.once : false;
			entry.gone = false;
			list[list.length] = entry;
			if (signal)
				signal.addEventListener('abort', function () {
					var at = find(list, entry.type, callback);

					if (at >= 0)
						drop(list, at);
				}, { once: true });
		},
		removeEventListener: function removeEventListener(type, callback) {
			var list = listeners(this), at = find(list, own.String(type), callback);

			if (at >= 0)
				drop(list, at);
		},
		dispatchEvent: function dispatchEvent(event) {
			var s = state(event);

			if (s.dispatching)
				throw new DOMException('The event is being dispatched',
				    'InvalidStateError');
			own.dispatch(this, event);
			return !s.prevented;
		}
	});

	own.dispatch = function (target, event) {
		var s = state(event), now = own.list(), list = listeners(target), i, entry;

		for (i = 0; i < list.length; i++)
			now[i] = list[i];
		s.target = target;
		s.dispatching = true;
		s.stopped = false;
		for (i = 0; i < now.length && !s.stopped; i++) {
			entry = now[i];
			if (entry.gone || entry.type !== s.type)
				continue;
			if (entry.once)
				drop(list, find(list, entry.type, entry.callback));
			try {
				if (typeof entry.callback === 'function')
					own.apply(entry.callback, target, [event]);
				else
					own.apply(entry.callback.handleEvent, entry.callback,
					    [event]);
			} catch (e) {
				own.uncaught(e);
			}
		}
		s.dispatching = false;
	};

	own.Event = Event;
	own.EventTarget = EventTarget;
	own.define(own.global, 'Event', Event);
	own.define(own.global, 'CustomEvent', CustomEvent);
	own.define(own.global, 'EventTarget', EventTarget);
})(__host.own);
