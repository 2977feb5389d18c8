/*
 * tana/kv: the interface, which contracts import; there is no storage yet.
 */
(function (own) {
	'use strict';

	var kv = {};
	var names = ['get', 'getWithMetadata', 'put', 'delete', 'list'];

	for (var i = 0; i < names.length; i++)
		own.noStorage(kv, 'kv', names[i]);

	own.module('kv', kv, { kv: kv });
})(__host.own);
