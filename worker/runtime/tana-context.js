/*
 * tana/context: who calls, in init and contract.
 */
(function (own) {
	'use strict';

	var context = {};

	own.methods(context, {
		/* Only the Unix socket will be able to name a caller. */
		caller: function caller() {
			return null;
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
	own.owner = null;

	own.context = context;
	own.module('context', context, { context: context });
})(__host.own);
