/*
 * performance: milliseconds since the request began.  (Date is Duktape's own,
 * which asks the system's clock each time.)
 */
(function (own) {
	'use strict';

	var monotonic = own.host.monotonic;
	var now = Date.now;
	var performance = {};

	own.monotonic = monotonic;
	own.methods(performance, {
		now: function () {
			return monotonic();
		},
		toJSON: function toJSON() {
			return { timeOrigin: now() - monotonic() };
		}
	});
	own.getter(performance, 'timeOrigin', function () {
		return now() - monotonic();
	});
	own.define(own.global, 'performance', performance);
})(__host.own);
