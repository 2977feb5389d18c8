/*
 * The queue of microtasks.  core-js finds queueMicrotask and setImmediate here
 * and builds its promises on them: the first for reactions, the second to report
 * a rejection that nobody has handled once the reactions have run.
 */
(function (own) {
	'use strict';

	var queue = own.list();
	var late = own.list();

	own.enqueue = function (task) {
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
		queue = own.list();
		late = own.list();
	});

	own.define(own.global, 'queueMicrotask', function queueMicrotask(callback) {
		if (typeof callback !== 'function')
			throw new TypeError('queueMicrotask: the callback is not a function');
		own.enqueue(callback);
	});
	/* globals.js removes these two again. */
	own.define(own.global, 'setImmediate', function setImmediate(callback) {
		late[late.length] = callback;
	});
	own.define(own.global, 'clearImmediate', function clearImmediate() {
	});
})(__host.own);
