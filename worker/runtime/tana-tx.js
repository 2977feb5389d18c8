/*
 * tana/tx: changes are staged, and applied together by execute() -- by a ledger,
 * which this version has not got: execute() then says so and applies nothing.
 */
(function (own) {
	'use strict';

	var GAS_A_CHANGE = 100;
	var tx = {};
	var staged = own.list();

	function amountOf(amount) {
		if (typeof amount === 'number')
			return amount;
		if (typeof amount === 'string' && own.test(/^[+-]?(\d+\.?\d*|\.\d+)$/, amount))
			return +amount;
		throw new TypeError('Amount must be a number or a decimal string');
	}

	function change(type) {
		var c = {}, i;

		own.put(c, 'type', type);
		for (i = 1; i < arguments.length; i += 2)
			own.put(c, arguments[i], arguments[i + 1]);
		staged[staged.length] = c;
	}

	function copy(c) {
		var out = {}, keys = own.keys(c), i;

		for (i = 0; i < keys.length; i++)
			own.put(out, keys[i], c[keys[i]]);
		return out;
	}

	function changes() {
		var out = own.list(), i;

		for (i = 0; i < staged.length; i++)
			out[i] = copy(staged[i]);
		return own.array(out);
	}

	function result(success, list, gas, error) {
		var r = {};

		own.put(r, 'success', success);
		own.put(r, 'changes', list);
		own.put(r, 'gasUsed', gas);
		own.put(r, 'error', error);
		return r;
	}

	own.methods(tx, {
		transfer: function transfer(from, to, amount, currency) {
			if (from === to)
				throw new Error('Cannot transfer to self');
			if (!(amountOf(amount) > 0) || amountOf(amount) === Infinity)
				throw new Error('Amount must be positive');
			change('transfer', 'from', from, 'to', to, 'amount', amount, 'currency',
			    currency);
		},
		setBalance: function setBalance(userId, amount, currency) {
			var n = amountOf(amount);

			if (n < 0)
				throw new Error('Balance cannot be negative');
			if (n - n !== 0)
				throw new TypeError('Amount must be a number or a decimal string');
			change('balance_update', 'userId', userId, 'amount', amount, 'currency',
			    currency);
		},
		getChanges: function getChanges() {
			return changes();
		},
		execute: function execute() {
			return own.promise(function () {
				var gas = GAS_A_CHANGE * staged.length;
				var limit = own.blockValue('gasLimit');

				if (staged.length === 0)
					return result(true, changes(), 0, null);
				if (typeof limit === 'number' && gas > limit)
					return result(false, changes(), gas, 'Out of gas');
				return result(false, changes(), gas,
				    own.noLedger('tx.execute').message);
			});
		}
	});

	own.onBegin(function () {
		if (staged.length > 0)
			staged = own.list();
	});

	own.module('tx', tx, { tx: tx });
})(__host.own);
