/*
 * URL: core-js's takes most of a millisecond, more than the rest of a request.
 * The common form -- http or https, a plain host, nothing to be encoded or
 * resolved -- is taken apart here by a regular expression; whatever is not plainly
 * of that form, and whatever changes a URL, goes to core-js.
 */
(function (own) {
	'use strict';

	var STATE = own.hidden('url');
	var Core = own.global.URL;
	var Params = own.global.URLSearchParams;
	var paramsText = own.free(Params.prototype.toString);
	var QUAD = '(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])';
	var plain = new RegExp('^(https?:)//' +
	    '((?:[a-z0-9-]+\\.)*[a-z][a-z0-9-]*|(?:' + QUAD + '\\.){3}' + QUAD + ')' +
	    '(?::([1-9][0-9]{0,4}))?(/[A-Za-z0-9\\-._~!$&\'()*+,;=:@/%]*)?' +
	    '(\\?[A-Za-z0-9\\-._~!$&()*+,;=:@/?%]+)?(#[A-Za-z0-9\\-._~!$&()*+,;=:@/?%]+)?$');
	/* Segments that are resolved away; labels that are checked. */
	var special = /\/(\.|%2e){1,2}(\/|$)|--/i;
	var mutators = ['append', 'delete', 'set', 'sort'];

	/* The parts, or undefined where core-js must look. */
	function split(text) {
		var m, s, path;

		if (text.length > 2000)
			return undefined;
		m = own.exec(plain, text);
		if (m === null || m[3] !== undefined && +m[3] > 65535)
			return undefined;
		path = m[4] === undefined ? '/' : m[4];
		if (own.test(special, path) || own.indexOf(m[2], '--') >= 0)
			return undefined;
		s = own.create(null);
		s.core = null;
		s.params = null;
		s.protocol = m[1];
		s.hostname = m[2];
		s.port = m[3] === undefined || m[3] === (m[1] === 'http:' ? '80' : '443') ? '' :
		    m[3];
		s.host = s.port === '' ? s.hostname : s.hostname + ':' + s.port;
		s.origin = s.protocol + '//' + s.host;
		s.username = s.password = '';
		s.pathname = path;
		s.search = m[5] === undefined ? '' : m[5];
		s.hash = m[6] === undefined ? '' : m[6];
		return s;
	}

	function parse(input, base) {
		var text = own.String(input), s = base === undefined ? split(text) : undefined;

		if (s === undefined) {
			s = own.create(null);
			s.core = base === undefined ? new Core(text) :
			    new Core(text, own.String(base));
			s.params = null;
		}
		return s;
	}

	function state(url) {
		var s = own.isObject(url) ? url[STATE] : undefined;

		if (s === undefined)
			throw new TypeError('Illegal invocation');
		return s;
	}

	function href(s) {
		return s.core !== null ? s.core.href : s.origin + s.pathname + s.search + s.hash;
	}

	/* The search parameters of a URL that is still ours: their changes come back to it. */
	function paramsOf(s) {
		var params = new Params(s.search), i;

		function watch(name) {
			var change = params[name];

			own.define(params, name, function () {
				var answer = own.apply(change, params, arguments);
				var text = paramsText(params);

				if (s.core !== null)
					s.core.search = text;
				else
					s.search = text === '' ? '' : '?' + text;
				return answer;
			});
		}
		for (i = 0; i < mutators.length; i++)
			watch(mutators[i]);
		return params;
	}

	/* The other way: the URL's search was set. */
	function refill(s) {
		var fresh = new Params(s.core.search), names = own.list(), i;

		Params.prototype.forEach.call(s.params, function (value, name) {
			names[names.length] = name;
		});
		for (i = 0; i < names.length; i++)
			Params.prototype['delete'].call(s.params, names[i]);
		Params.prototype.forEach.call(fresh, function (value, name) {
			Params.prototype.append.call(s.params, name, value);
		});
	}

	function set(s, name, value) {
		if (s.core === null)
			s.core = new Core(href(s));
		s.core[name] = value;
		if (s.params !== null && (name === 'search' || name === 'href'))
			refill(s);
	}

	function URL(input, base) {
		if (!(this instanceof URL))
			throw new TypeError('Constructor URL requires \'new\'');
		if (arguments.length === 0)
			throw new TypeError('URL: not enough arguments');
		this[STATE] = parse(input, base);
	}

	function attribute(name) {
		own.getter(URL.prototype, name, function () {
			var s = state(this);

			return s.core !== null ? s.core[name] : s[name];
		}, name === 'origin' ? undefined : function (value) {
			set(state(this), name, value);
		});
	}
	attribute('protocol');
	attribute('hostname');
	attribute('port');
	attribute('host');
	attribute('origin');
	attribute('username');
	attribute('password');
	attribute('pathname');
	attribute('search');
	attribute('hash');
	own.getter(URL.prototype, 'href', function () {
		return href(state(this));
	}, function (value) {
		set(state(this), 'href', value);
	});
	own.getter(URL.prototype, 'searchParams', function () {
		var s = state(this);

		if (s.params !== null)
			return s.params;
		if (s.core !== null)
			return s.core.searchParams;
		s.params = paramsOf(s);
		return s.params;
	});
	own.methods(URL.prototype, {
		toString: function toString() {
			return href(state(this));
		},
		toJSON: function toJSON() {
			return href(state(this));
		}
	});
	own.define(URL.prototype, Symbol.toStringTag, 'URL');
	own.methods(URL, {
		canParse: function canParse(input, base) {
			try {
				parse(input, base);
				return true;
			} catch (e) {
				return false;
			}
		},
		parse: function (input, base) {
			try {
				return new URL(input, base);
			} catch (e) {
				return null;
			}
		}
	});
	own.URL = URL;
	own.define(own.global, 'URL', URL);
})(__host.own);
