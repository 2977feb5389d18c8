/*
 * tana/context: who calls, in init and contract.
 */
(function (own) {
	'use strict';

	var context = {};

	own.methods(context, {
		/* Only a client of the Unix socket can name a caller; init has none. */
		caller: function caller() {
			var r = own.request;

			return r === null || r['function'] === 'init' ? null : own.callerOf(r);
		},
		owner: function owner() {
			var c = own.request !== null ? own.request.contract : null;

			return c !== null ? c.owner : own.owner;
		},
		block: function () {
			return own.block;
		},
		input: function input() {
			return own.input;
		}
	});
	own.input = null;

	/* It comes as text, since few handlers look at it. */
	own.callerOf = function (request) {
		if (typeof request.caller === 'string' && request.named === undefined)
			request.named = own.parse(request.caller);
		return request.named === undefined ? null : request.named;
	};
	own.owner = null;

	own.context = context;
	own.module('context', context, { context: context });
})(__host.own);
