/*
 * The queue of microtasks.  core-js finds queueMicrotask and setImmediate here
 * and builds its promises on them: the first for reactions, the second to report
 * a rejection that nobody has handled once the reactions have run.
 */
(function (own) {
	'use strict';

	var queue = own.list();
	var late = own.list();

	/* Is there something that C must not pass over (wk_ready.c)?  For it to see without a call. */
	own.notice = own.create(null);
	own.notice.due = false;

	own.enqueue = function (task) {
		own.notice.due = true;
		queue[queue.length] = task;
	};

	function run() {
		var batch, task, i;

		while (queue.length > 0) {
			batch = queue;
			queue = own.list();
			for (i = 0; i < batch.length; i++) {
				task = batch[i];
				batch[i] = undefined;
				try {
					task();
				} catch (e) {
					own.uncaught(e);
				}
			}
		}
	}

	/* Until nothing is left to run but timers. */
	own.runMicrotasks = function () {
		var batch, i;

		run();
		while (late.length > 0) {
			batch = late;
			late = own.list();
			for (i = 0; i < batch.length; i++) {
				try {
					batch[i]();
				} catch (e) {
					own.uncaught(e);
				}
				run();
			}
		}
	};

	own.onBegin(function () {
		if (queue.length > 0)
			queue = own.list();
		if (late.length > 0)
			late = own.list();
	});

	own.define(own.global, 'queueMicrotask', function queueMicrotask(callback) {
		if (typeof callback !== 'function')
			throw new TypeError('queueMicrotask: the callback is not a function');
		own.enqueue(callback);
	});
	/* globals.js removes these two again. */
	own.define(own.global, 'setImmediate', function setImmediate(callback) {
		own.notice.due = true;
		late[late.length] = callback;
	});
	own.define(own.global, 'clearImmediate', function clearImmediate() {
	});
})(__host.own);
