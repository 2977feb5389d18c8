/*
 * tana/utils: fetch.  The list of hosts is checked already; what it permits cannot
 * be fetched yet.
 */
(function (own) {
	'use strict';

	var ALLOWED = 'tana.dev';

	function allowed(host) {
		var at = host.length - ALLOWED.length;

		return host === ALLOWED || at > 0 && own.slice(host, at - 1) === '.' + ALLOWED;
	}

	function fetch(input, init) {
		return own.promise(function () {
			var request = new own.Request(input, init), url = new own.URL(request.url);

			if (url.protocol !== 'http:' && url.protocol !== 'https:')
				throw new TypeError('fetch: the protocol ' + url.protocol +
				    ' is not supported');
			if (!allowed(url.hostname))
				throw new Error('fetch blocked: domain "' + url.hostname +
				    '" not in whitelist. Allowed domains: ' + ALLOWED);
			throw new Error('fetch: outbound requests are not available ' +
			    'in this version of tana-edge');
		});
	}

	own.module('utils', undefined, { fetch: fetch });
})(__host.own);
