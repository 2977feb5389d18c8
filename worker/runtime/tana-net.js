/*
 * tana/net
 */
(function (own) {
	'use strict';

	own.module('net', undefined, {
		Request: own.Request,
		Response: own.Response,
		Headers: own.global.Headers
	});
})(__host.own);
