/*
 * Timers: a binary heap by due time, then by order of making.  C asks timeout(),
 * sleeps, and calls fire().
 *
 * Timers of the module level are kept as they are when the contract has been
 * loaded, and begin with each request.
 */
(function (own) {
	'use strict';

	var heap = own.list();
	var byId = own.create(null);
	var kept = own.list();
	var last = 0;

	function before(a, b) {
		return a.due < b.due || a.due === b.due && a.order < b.order;
	}

	function add(timer) {
		var i = heap.length, up;

		while (i > 0) {
			up = (i - 1) >> 1;
			if (!before(timer, heap[up]))
				break;
			heap[i] = heap[up];
			i = up;
		}
		heap[i] = timer;
	}

	function removeFirst() {
		var end = heap[heap.length - 1], i = 0, child;

		heap.length--;
		if (heap.length === 0)
			return;
		for (;;) {
			child = 2 * i + 1;
			if (child >= heap.length)
				break;
			if (child + 1 < heap.length && before(heap[child + 1], heap[child]))
				child++;
			if (!before(heap[child], end))
				break;
			heap[i] = heap[child];
			i = child;
		}
		heap[i] = end;
	}

	/* The next live timer, or undefined. */
	function first() {
		while (heap.length > 0 && heap[0].gone)
			removeFirst();
		return heap.length > 0 ? heap[0] : undefined;
	}

	function start(callback, delay, args, repeat) {
		var timer = own.create(null);

		if (typeof callback !== 'function')
			throw new TypeError((repeat ? 'setInterval' : 'setTimeout') +
			    ': the callback is not a function');
		delay = +delay;
		if (!(delay >= 0 && delay <= 2147483647))
			delay = 0;		/* NaN, negative, too long: as browsers do */
		if (repeat && delay < 1)
			delay = 1;
		timer.id = timer.order = ++last;
		timer.callback = callback;
		timer.args = args;
		timer.delay = delay;
		timer.repeat = repeat;
		timer.due = own.monotonic() + delay;
		timer.gone = false;
		byId[timer.id] = timer;
		add(timer);
		return timer.id;
	}

	function stop(id) {
		var timer = typeof id === 'number' || typeof id === 'string' ? byId[id] : undefined;

		if (timer !== undefined) {
			timer.gone = true;
			delete byId[id];
		}
	}

	function rest(args) {
		var list = own.list(), i;

		for (i = 2; i < args.length; i++)
			list[i - 2] = args[i];
		return list;
	}

	own.define(own.global, 'setTimeout', function setTimeout(callback, delay) {
		return start(callback, delay, rest(arguments), false);
	});
	own.define(own.global, 'setInterval', function setInterval(callback, delay) {
		return start(callback, delay, rest(arguments), true);
	});
	own.define(own.global, 'clearTimeout', function clearTimeout(id) {
		stop(id);
	});
	own.define(own.global, 'clearInterval', function clearInterval(id) {
		stop(id);
	});

	/* For the runtime's own use. */
	own.after = function (delay, callback) {
		return start(callback, delay, own.list(), false);
	};

	own.timeout = function () {
		var timer = first(), ms;

		if (timer === undefined)
			return -1;
		ms = timer.due - own.monotonic();
		return ms > 0 ? ms : 0;
	};

	/* Run what is due now; what these start comes next time. */
	own.fire = function () {
		var now = own.monotonic(), end = last, timer;

		while ((timer = first()) !== undefined && timer.due <= now && timer.order <= end) {
			removeFirst();
			if (timer.repeat) {
				timer.due = own.monotonic() + timer.delay;
				timer.order = ++last;
				add(timer);
			} else {
				delete byId[timer.id];
			}
			try {
				own.apply(timer.callback, undefined, timer.args);
			} catch (e) {
				own.uncaught(e);
			}
			own.runMicrotasks();
		}
	};

	/* The module level is over: its timers begin again with each request. */
	own.keepTimers = function () {
		var timer;

		if (kept.length > 0)
			kept = own.list();
		while ((timer = first()) !== undefined) {
			removeFirst();
			kept[kept.length] = timer;
		}
	};

	own.hasKeptTimers = function () {
		return kept.length > 0;
	};

	own.onBegin(function () {
		var i, copy;

		if (last === 0)			/* there has never been one */
			return;
		heap = own.list();
		byId = own.create(null);
		for (i = 0; i < kept.length; i++) {
			copy = own.create(null);
			copy.id = kept[i].id;
			copy.order = kept[i].order;
			copy.callback = kept[i].callback;
			copy.args = kept[i].args;
			copy.delay = kept[i].delay;
			copy.repeat = kept[i].repeat;
			copy.due = own.monotonic() + copy.delay;
			copy.gone = false;
			byId[copy.id] = copy;
			add(copy);
		}
	});
})(__host.own);
