/*
 * tana/kv: the interface, which contracts import; there is no storage yet.
 */
(function (own) {
	'use strict';

	var kv = {};
	var names = ['get', 'getWithMetadata', 'put', 'delete', 'list'];

	function missing(name) {
		own.define(kv, name, function () {
			return own.promise(function () {
				throw new Error('kv.' + name +
				    ': storage is not available in this version of tana-edge');
			});
		});
	}
	for (var i = 0; i < names.length; i++)
		missing(names[i]);

	own.module('kv', kv, { kv: kv });
})(__host.own);
