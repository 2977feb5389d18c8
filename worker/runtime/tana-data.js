/*
 * tana/data: the interface, which contracts import; there is no storage yet.
 */
(function (own) {
	'use strict';

	var data = {};
	var names = ['set', 'get', 'delete', 'has', 'keys', 'entries', 'clear', 'commit'];

	own.noStorage = function (object, prefix, name) {
		own.define(object, name, function () {
			return own.promise(function () {
				throw new Error(prefix + '.' + name +
				    ': storage is not available in this version of tana-edge');
			});
		});
	};
	for (var i = 0; i < names.length; i++)
		own.noStorage(data, 'data', names[i]);
	own.put(data, 'MAX_KEY_SIZE', 256);
	own.put(data, 'MAX_VALUE_SIZE', 10240);
	own.put(data, 'MAX_TOTAL_SIZE', 102400);
	own.put(data, 'MAX_KEYS', 1000);

	own.module('data', data, { data: data });
})(__host.own);
