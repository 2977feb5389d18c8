/*
 * tana/block: the chain as the handler sees it.  The values come with the request;
 * what the ledger would answer is refused until there is one.
 */
(function (own) {
	'use strict';

	var BATCH_MAX = 10;
	var block = {};
	var names = [
		'height', 'timestamp', 'hash', 'previousHash', 'executor', 'contractId', 'gasLimit',
		'gasUsed'
	];

	/* Null while the module level runs: no block is there then. */
	function value(name) {
		var b = own.request !== null ? own.blockGiven(own.request) : null, v;

		if (typeof b === 'string')
			b = own.request.block = own.parse(b);
		if (!own.isObject(b))
			return null;
		v = b[name];
		return v === undefined ? null : v;
	}
	own.blockValue = value;

	function expose(name) {
		own.getter(block, name, function () {
			return value(name);
		});
		own.define(block, 'get' + own.upper(own.slice(name, 0, 1)) + own.slice(name, 1),
		    function () {
			return value(name);
		});
	}
	for (var i = 0; i < names.length; i++)
		expose(names[i]);

	own.noLedger = function (what) {
		return new Error(what +
		    ': the ledger is not available in this version of tana-edge');
	};

	function query(name, many) {
		own.define(block, name, function (ids) {
			return own.promise(function () {
				if (own.isArray(ids) && ids.length > BATCH_MAX)
					throw new Error('Cannot query more than ' + BATCH_MAX +
					    ' ' + many + ' at once');
				throw own.noLedger('block.' + name);
			});
		});
	}
	query('getBalance', 'balances');
	query('getUser', 'users');
	query('getTransaction', 'transactions');
	own.put(block, 'MAX_BATCH_QUERY', BATCH_MAX);

	own.block = block;
	own.module('block', block, { block: block });
})(__host.own);
