/*
 * tana/core, and the global `tana`.
 */
(function (own) {
	'use strict';

	var version = {};
	var tana = {};

	own.put(version, 'tana', own.host.version.tana);
	own.put(version, 'duktape', own.host.version.duktape);
	Object.freeze(version);

	own.methods(tana, {
		print: function print(value) {
			own.log(2, own.show(value));
		}
	});
	own.put(tana, 'version', version);
	own.define(own.global, 'tana', tana);

	own.module('core', own.console, { console: own.console, version: version });
})(__host.own);
