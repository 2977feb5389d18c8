/*
 * console: one call, one record.
 */
(function (own) {
	'use strict';

	var log = own.host.log;
	var console = {};

	function write(level, args) {
		var text = '', i;

		for (i = 0; i < args.length; i++)
			text += (i > 0 ? ' ' : '') + own.show(args[i]);
		log(level, text);
	}

	own.log = function (level, text) {
		log(level, text);
	};

	own.methods(console, {
		error: function error() {
			write(0, arguments);
		},
		warn: function warn() {
			write(1, arguments);
		},
		info: function info() {
			write(2, arguments);
		},
		log: function log() {
			write(2, arguments);
		},
		debug: function debug() {
			write(3, arguments);
		},
		trace: function trace() {
			write(3, arguments);
		},
		assert: function assert(condition) {
			var args = own.list(), i;

			if (condition)
				return;
			args[0] = 'Assertion failed';
			for (i = 1; i < arguments.length; i++)
				args[i] = arguments[i];
			write(0, args);
		}
	});
	own.console = console;
	own.define(own.global, 'console', console);

	/*
	 * An error in a callback of a timer or a microtask, which nobody awaits.
	 * tana.js makes the request fail by it if there is one.
	 */
	own.uncaught = function (e) {
		log(0, 'Uncaught ' + own.describe(e));
	};
})(__host.own);
