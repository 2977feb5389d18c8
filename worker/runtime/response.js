/*
 * Response: WHATWG's; new Response(status, body, headers) when the first argument
 * is a number; Response.json and Response.text with a status for their init.
 */
(function (own) {
	'use strict';

	var STATE = own.hidden('response');
	var NULL_BODY = own.create(null);
	var statusText = /^[\t\u0020-\u007e\u0080-\u00ff]*$/;
	var SKIP = own.create(null);

	NULL_BODY[204] = NULL_BODY[205] = NULL_BODY[304] = true;

	function state(response) {
		var s = own.isObject(response) ? response[STATE] : undefined;

		if (s === undefined)
			throw new TypeError('Illegal invocation');
		return s;
	}

	function checkStatus(status) {
		var n = typeof status === 'number' ? status : +status;

		if (!(n >= 200 && n <= 599) || own.floor(n) !== n)
			throw own.refuse(RangeError, 'invalid status ' + own.show(status) +
			    ': expected a number from 200 to 599');
		return n;
	}

	function fill(s, taken, status, text, headers) {
		s.status = status === undefined ? 200 : checkStatus(status);
		s.statusText = text === undefined ? '' : own.String(text);
		if (!own.test(statusText, s.statusText))
			throw own.refuse(TypeError, 'invalid statusText');
		s.headers = own.headersFrom(headers);
		s.body = taken.body;
		s.used = false;
		s.url = '';
		s.type = 'default';
		if (NULL_BODY[s.status] === true && s.body !== null) {
			if (s.body.length > 0)
				throw own.refuse(TypeError, 'a response of status ' + s.status +
				    ' has no body');
			s.body = null;
		} else if (taken.type !== null && own.header(s.headers, 'content-type') === null) {
			own.setHeader(s.headers, 'content-type', taken.type);
		}
		return s;
	}

	own.cannotBeJson = function (e, whose) {
		return own.refuse(TypeError, whose + ' cannot be expressed in JSON: ' +
		    own.summary(e));
	};
	own.hasNoJson = function (whose) {
		return own.refuse(TypeError, whose + ' has nothing that JSON can express');
	};

	/* data as JSON text, or a refusal that says why not. */
	own.jsonText = function (data, whose) {
		var text;

		if (data === undefined || typeof data === 'function' || typeof data === 'symbol')
			throw own.refuse(TypeError, whose + (data === undefined ? ' is undefined' :
			    ' is a ' + typeof data) + ', which JSON cannot express');
		try {
			text = own.stringify(data);
		} catch (e) {
			throw own.cannotBeJson(e, whose);
		}
		if (typeof text !== 'string')
			throw own.hasNoJson(whose);
		return text;
	};

	function jsonBody(data, whose) {
		var taken = own.create(null);

		taken.body = own.jsonText(data, whose);
		taken.type = 'application/json';
		return taken;
	}

	function Response(body, init) {
		var s = own.create(null);

		if (!(this instanceof Response))
			throw new TypeError('Constructor Response requires \'new\'');
		if (body === SKIP) {
			this[STATE] = init;
			return;
		}
		if (typeof body === 'number') {
			fill(s, plain(init) ? jsonBody(init, 'the body') : own.takeBody(init), body,
			    undefined, arguments[2]);
		} else {
			init = init === undefined || init === null ? own.create(null) : init;
			if (!own.isObject(init))
				throw new TypeError('Response: init is not an object');
			fill(s, own.takeBody(body), init.status, init.statusText, init.headers);
		}
		this[STATE] = s;
	}

	/* In the form that begins with a status: an object that is no kind of body. */
	function plain(value) {
		return typeof value === 'object' && value !== null && !own.isView(value) &&
		    !(value instanceof own.ArrayBuffer) && !(value instanceof own.Params);
	}

	function make(taken, init, whose) {
		var s = own.create(null);

		if (init === undefined || init === null)
			return new Response(SKIP, fill(s, taken));
		if (!own.isObject(init))
			return new Response(SKIP, fill(s, taken, init));
		return new Response(SKIP, fill(s, taken, init.status, init.statusText,
		    init.headers));
	}

	own.methods(Response, {
		json: function json(data, init) {
			return make(jsonBody(data, 'the argument of Response.json'), init);
		},
		text: function text(data, init) {
			return make(own.takeBody(own.String(data)), init);
		},
		redirect: function redirect(url, status) {
			var s = own.create(null), headers = own.create(null);

			status = status === undefined ? 302 : +status;
			if (status !== 301 && status !== 302 && status !== 303 && status !== 307 &&
			    status !== 308)
				throw own.refuse(RangeError, 'Response.redirect: invalid status ' +
				    own.show(status));
			url = own.String(url);
			/* A path is for the client to resolve; anything else must be a URL. */
			headers.location = own.test(/^\//, url) ? url : new own.URL(url).href;
			return new Response(SKIP, fill(s, own.takeBody(null), status, undefined,
			    headers));
		},
		error: function error() {
			var s = fill(own.create(null), own.takeBody(null));

			s.status = 0;
			s.type = 'error';
			return new Response(SKIP, s);
		}
	});

	function attribute(name, get) {
		own.getter(Response.prototype, name, function () {
			return get(state(this));
		});
	}
	attribute('status', function (s) { return s.status; });
	attribute('statusText', function (s) { return s.statusText; });
	attribute('ok', function (s) { return s.status >= 200 && s.status <= 299; });
	attribute('headers', function (s) { return s.headers; });
	attribute('type', function (s) { return s.type; });
	attribute('url', function (s) { return s.url; });
	attribute('redirected', function () { return false; });
	own.bodyMethods(Response.prototype, state);
	own.methods(Response.prototype, {
		clone: function clone() {
			var s = state(this), copy;

			if (s.used)
				throw new TypeError('Response.clone: Body has already been read');
			copy = own.create(null);
			copy.status = s.status;
			copy.statusText = s.statusText;
			copy.headers = own.headersFrom(s.headers);
			copy.body = s.body;
			copy.used = false;
			copy.url = s.url;
			copy.type = s.type;
			return new Response(SKIP, copy);
		}
	});
	own.define(Response.prototype, Symbol.toStringTag, 'Response');
	own.Response = Response;
	own.define(own.global, 'Response', Response);

	own.RESPONSE = STATE;
	/* The state of a response, undefined for anything else. */
	own.responseState = function (value) {
		return own.isObject(value) ? value[STATE] : undefined;
	};
})(__host.own);
