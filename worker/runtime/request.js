/*
 * Request: WHATWG's, and what the server adds: path, query, params, ip, tana, and
 * in get and post handlers the parsed body.
 */
(function (own) {
	'use strict';

	var STATE = own.hidden('request');
	var methodName = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
	var plus = /\+/g;
	var decodeComponent = decodeURIComponent;
	var GIVEN = own.create(null);	/* C has it, and gives it to who asks */

	function state(request) {
		var s = own.isObject(request) ? request[STATE] : undefined;

		if (s === undefined)
			throw new TypeError('Illegal invocation');
		return s;
	}

	function decoded(text) {
		text = own.replace(text, plus, ' ');
		if (own.indexOf(text, '%') < 0)
			return text;
		try {
			return decodeComponent(text);
		} catch (e) {
			/* As URLSearchParams has it: what is no UTF-8 becomes U+FFFD. */
			return new own.Params('a=' + own.replace(text, / /g, '+')).get('a');
		}
	}

	/* First value of each name; the object inherits nothing, so any name will do. */
	function parseQuery(text) {
		var out = own.create(null), at = 0, end, part, eq, name;

		while (at < text.length) {
			end = own.indexOf(text, '&', at);
			if (end < 0)
				end = text.length;
			part = own.slice(text, at, end);
			at = end + 1;
			if (part === '')
				continue;
			eq = own.indexOf(part, '=');
			name = decoded(eq < 0 ? part : own.slice(part, 0, eq));
			if (out[name] === undefined)
				out[name] = eq < 0 ? '' : decoded(own.slice(part, eq + 1));
		}
		return out;
	}

	function make(s) {
		var request = own.create(Request.prototype);

		request[STATE] = s;
		return request;
	}

	function fresh() {
		var s = own.create(null);

		s.url = '';
		s.method = 'GET';
		s.headers = null;
		s.listed = false;	/* made from those that came from C when they are wanted */
		s.body = null;
		s.used = false;
		s.path = '/';
		s.search = '';
		s.query = undefined;
		s.params = undefined;
		s.ip = null;
		s.tana = undefined;
		s.contract = null;
		s.from = null;		/* what came from C */
		s.parsed = null;
		s.signal = undefined;
		return s;
	}

	function urlOf(s) {
		if (s.url === GIVEN)
			s.url = own.host.givenUrl();
		return s.url;
	}

	function ipOf(s) {
		if (s.ip === GIVEN)
			s.ip = own.host.givenIp();
		return s.ip;
	}

	/* Of the request as it came from C. */
	own.headersGiven = function (from) {
		if (from.headers === GIVEN)
			from.headers = own.host.givenHeaders();
		return from.headers;
	};
	own.blockGiven = function (from) {
		if (from.block === GIVEN)
			from.block = own.host.givenBlock();
		return from.block;
	};

	function headers(s) {
		if (s.headers === null)
			s.headers = s.listed ? own.headersOf(own.headersGiven(s.from)) :
			    own.headersFrom();
		return s.headers;
	}

	function Request(input, init) {
		var s = fresh(), from, url, taken;

		if (!(this instanceof Request))
			throw new TypeError('Constructor Request requires \'new\'');
		init = init === undefined || init === null ? own.create(null) : init;
		from = own.isObject(input) ? input[STATE] : undefined;
		if (from !== undefined) {
			if (from.used && init.body === undefined)
				throw new TypeError(
				    'Request: the body of the other request has been read');
			s.url = urlOf(from);
			s.path = from.path;
			s.search = from.search;
			s.method = from.method;
			s.body = from.body;
			s.ip = ipOf(from);
			s.contract = from.contract;
			s.from = from.from;
			s.params = from.params;
			s.signal = from.signal;
			s.headers = own.headersFrom(init.headers !== undefined ? init.headers :
			    headers(from));
		} else {
			url = new own.URL(own.String(input));
			s.url = url.href;
			s.path = url.pathname;
			s.search = own.slice(url.search, 1);
			s.headers = own.headersFrom(init.headers);
		}
		if (init.method !== undefined) {
			s.method = own.String(init.method);
			if (!own.test(methodName, s.method))
				throw new TypeError('Request: invalid method ' +
				    own.stringify(s.method));
			if (own.test(/^(delete|get|head|options|post|put)$/i, s.method))
				s.method = own.upper(s.method);
		}
		if (init.signal !== undefined && init.signal !== null)
			s.signal = init.signal;
		if (init.body !== undefined && init.body !== null) {
			if (s.method === 'GET' || s.method === 'HEAD')
				throw new TypeError(
				    'Request with GET/HEAD method cannot have body');
			taken = own.takeBody(init.body);
			s.body = taken.body;
			if (taken.type !== null && own.header(s.headers, 'content-type') === null)
				own.setHeader(s.headers, 'content-type', taken.type);
		}
		if (from !== undefined && from.body !== null && init.body === undefined)
			from.used = true;
		this[STATE] = s;
	}

	function attribute(name, get) {
		own.getter(Request.prototype, name, function () {
			return get(state(this));
		});
	}

	/* What a framework may replace on a request, as on an ordinary object. */
	function replaceable(name, get) {
		own.getter(Request.prototype, name, function () {
			return get(state(this));
		}, function (value) {
			own.put(this, name, value);
		});
	}

	attribute('url', urlOf);
	attribute('method', function (s) { return s.method; });
	attribute('headers', headers);
	attribute('signal', function (s) {
		if (s.signal === undefined)
			s.signal = new AbortController().signal;
		return s.signal;
	});
	attribute('cache', function () { return 'default'; });
	attribute('credentials', function () { return 'same-origin'; });
	attribute('destination', function () { return ''; });
	attribute('integrity', function () { return ''; });
	attribute('keepalive', function () { return false; });
	attribute('mode', function () { return 'cors'; });
	attribute('redirect', function () { return 'follow'; });
	attribute('referrer', function () { return 'about:client'; });
	attribute('referrerPolicy', function () { return ''; });

	replaceable('path', function (s) { return s.path; });
	replaceable('ip', ipOf);
	replaceable('body', function (s) { return s.parsed; });
	replaceable('query', function (s) {
		if (s.query === undefined)
			s.query = parseQuery(s.search);
		return s.query;
	});
	replaceable('params', function (s) {
		if (s.params === undefined)
			s.params = own.paramsOf(s.path);
		return s.params;
	});
	replaceable('tana', function (s) {
		if (s.tana === undefined)
			s.tana = {
				caller: s.from !== null ? own.callerOf(s.from) : null,
				contract: s.contract,
				session: null
			};
		return s.tana;
	});

	own.bodyMethods(Request.prototype, state);
	own.methods(Request.prototype, {
		clone: function clone() {
			var s = state(this), copy = fresh();

			if (s.used)
				throw new TypeError('Request.clone: Body has already been read');
			copy.url = urlOf(s);
			copy.method = s.method;
			copy.headers = own.headersFrom(headers(s));
			copy.body = s.body;
			copy.path = s.path;
			copy.search = s.search;
			copy.params = s.params;
			copy.ip = ipOf(s);
			copy.contract = s.contract;
			copy.from = s.from;
			copy.parsed = s.parsed;
			copy.signal = s.signal;
			return make(copy);
		}
	});
	own.define(Request.prototype, Symbol.toStringTag, 'Request');
	own.Request = Request;
	own.define(own.global, 'Request', Request);

	/*
	 * A request before it comes, for C to fill its state in.  Later, at the first
	 * one, it is what make() would have made: nothing runs in between.
	 */
	own.prepareRequest = function (from) {
		var p = own.create(null);

		p.from = from;
		p.state = fresh();
		p.state.contract = from.contract;
		p.state.from = from;
		p.state.listed = true;
		/* Few handlers look at these: each text saved is a page less to put back. */
		p.state.url = p.state.ip = from.headers = from.block = GIVEN;
		p.request = make(p.state);
		return p;
	};
	/* C will not have it any longer. */
	own.keepRequest = function (p) {
		urlOf(p.state);
		ipOf(p.state);
		own.headersGiven(p.from);
		own.blockGiven(p.from);
	};

	/* The request that came from C; `parsed` is what req.body shall be. */
	own.requestOf = function (from, parsed) {
		var s = fresh();

		s.url = from.url;
		s.method = from.method;
		s.listed = true;
		s.body = from.body;
		s.path = from.path;
		s.search = from.query;
		s.ip = from.ip;
		s.contract = from.contract;
		s.from = from;
		s.parsed = parsed;
		return make(s);
	};
})(__host.own);
