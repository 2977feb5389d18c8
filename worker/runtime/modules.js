/*
 * What a contract can import: the tana modules, by two names each.
 */
(function (own) {
	'use strict';

	var modules = own.create(null);

	/* `main` is the module's chief export, for those who import the default. */
	own.module = function (name, main, exports) {
		own.define(exports, '__esModule', true);
		if (exports['default'] === undefined)
			own.put(exports, 'default', main);
		modules['tana/' + name] = modules['tana:' + name] = exports;
	};

	own.require = function require(name) {
		var found = typeof name === 'string' ? modules[name] : undefined;

		if (found === undefined)
			throw new Error('Cannot find module \'' + own.show(name) + '\'');
		return found;
	};
})(__host.own);
