/*
 * The table that C calls (see HACKING): a contract's files come in through load(),
 * its requests through begin() ... finish().
 *
 * Everything that a contract throws is caught here, so that the fault says what
 * happened; what is left over C catches.
 */
(function (own) {
	'use strict';

	var RETURNED = 'what the handler returned';
	var NAMES = ['init', 'contract', 'get', 'post', 'fetch'];
	var SPELLINGS = own.create(null);
	var jsonType = /^[^;]*[\/+]json[\t ]*(;|$)/i;
	var textType = new RegExp('^[\\t ]*(text/|[^;]*\\+xml|' +
	    'application/(x-www-form-urlencoded|xml|javascript|graphql))', 'i');
	var otherCharset = /;[\t ]*charset[\t ]*=[\t ]*"?(?!utf-?8)/i;

	var handlers = own.create(null);	/* name -> { fn, self, file } */
	var others = own.list();		/* what is exported besides */
	var lastFile = '';
	var contract = own.create(null);	/* id, owner, name */
	var current = null;			/* the request's outcome */
	var prepared = null;			/* for the first request: see prepare() */

	SPELLINGS.Get = 'get';
	SPELLINGS.get = 'get';
	SPELLINGS.Post = 'post';
	SPELLINGS.post = 'post';
	SPELLINGS.init = 'init';
	SPELLINGS.contract = 'contract';

	/* ---- loading ---- */

	function handler(name, fn, self, file, spelling) {
		var h = handlers[name];

		if (typeof fn !== 'function')
			throw new TypeError(file + ': the export ' + spelling +
			    ' is not a function');
		if (h !== undefined) {
			if (h.fn === fn)
				return;
			throw new Error(h.file === file ?
			    file + ': both ' + h.spelling + ' and ' + spelling + ' are exported' :
			    spelling + ' is exported by ' + h.file + ' and by ' + file);
		}
		h = own.create(null);
		h.fn = fn;
		h.self = self;
		h.file = file;
		h.spelling = spelling;
		handlers[name] = h;
	}

	function take(exports, file) {
		var keys, i, value, fetch;

		if (!own.isObject(exports))
			throw new TypeError(file + ': module.exports is not an object');
		keys = own.keys(exports);
		for (i = 0; i < keys.length; i++) {
			if (SPELLINGS[keys[i]] !== undefined) {
				handler(SPELLINGS[keys[i]], exports[keys[i]], undefined, file,
				    keys[i]);
			} else if (keys[i] === 'default') {
				value = exports['default'];
				fetch = own.isObject(value) ? value.fetch : undefined;
				if (fetch !== undefined)
					handler('fetch', fetch, value, file, 'default.fetch');
				else
					others[others.length] = 'default';
			} else {
				others[others.length] = keys[i];
			}
		}
	}

	function load(id, meta, name, fn) {
		var module = { exports: {} };

		lastFile = name;
		meta = own.isObject(meta) ? meta : own.create(null);
		contract.id = id;
		contract.owner = own.owner = typeof meta.owner === 'string' ? meta.owner : null;
		contract.name = typeof meta.name === 'string' ? meta.name : null;
		own.setRoutes(meta.routes);
		try {
			own.apply(fn, module.exports, [module.exports, own.require, module]);
		} catch (e) {
			own.blame(e, name);
			throw e;
		}
		take(module.exports, name);
	}

	function exports() {
		var out = own.list(), found = '', i, e;

		/* What the module level has started without awaiting it. */
		own.runMicrotasks();
		own.keepTimers();
		for (i = 0; i < NAMES.length; i++)
			if (handlers[NAMES[i]] !== undefined)
				out[out.length] = NAMES[i];
		if (out.length > 0)
			return out;
		for (i = 0; i < others.length && i < 10; i++)
			found += (i > 0 ? ', ' : '') + others[i];
		e = new Error('no handler is exported: expected Get, Post, get, post, contract, ' +
		    'init or a default export with fetch()' +
		    (found === '' ? '' : '; found: ' + found));
		own.define(e, 'fileName', lastFile);
		own.define(e, 'lineNumber', 0);
		throw e;
	}

	/* ---- a request ---- */

	function fault(outcome, name, message) {
		if (outcome.settled)
			return;
		outcome.settled = true;
		outcome.fault = name;
		outcome.message = message;
	}

	function failed(outcome, e) {
		if (outcome.settled)
			return;
		fault(outcome, own.isRefusal(e) ? 'RESULT' : 'THREW', own.describe(e));
	}

	function settle(outcome, value) {
		outcome.settled = true;
		outcome.value = value;
	}

	/* A promise, or what looks like one: the outcome is what it comes to. */
	function follow(outcome, value, then) {
		var once = false;

		own.enqueue(function () {
			try {
				own.apply(then, value, [function (v) {
					if (!once) {
						once = true;
						returned(outcome, v);
					}
				}, function (e) {
					if (!once) {
						once = true;
						failed(outcome, e);
					}
				}]);
			} catch (e) {
				if (!once) {
					once = true;
					failed(outcome, e);
				}
			}
		});
	}

	/* What a handler returned, or what its promise came to. */
	function returned(outcome, value) {
		var then;

		if (outcome.settled)
			return;
		if (own.isObject(value) && own.responseState(value) === undefined) {
			try {
				then = value.then;
			} catch (e) {
				failed(outcome, e);
				return;
			}
			if (typeof then === 'function') {
				follow(outcome, value, then);
				return;
			}
		}
		settle(outcome, value);
	}

	/* ctx.waitUntil(): the heap ends with the request, so the answer waits too. */
	function contextOf(outcome) {
		var ctx = {};

		function done() {
			outcome.waiting--;
		}

		own.methods(ctx, {
			waitUntil: function waitUntil(promise) {
				var then = own.isObject(promise) ? promise.then : undefined;

				if (typeof then !== 'function')
					return;
				outcome.waiting++;
				own.apply(then, promise, [done, function (e) {
					done();
					own.log(0, 'waitUntil: ' + own.describe(e));
				}]);
			},
			passThroughOnException: function passThroughOnException() {
			}
		});
		return ctx;
	}

	function header(list, name) {
		var i;

		for (i = 0; i < list.length; i += 2)
			if (list[i] === name)
				return list[i + 1];
		return '';
	}

	/* The body as get and post handlers see it; undefined: it is not the JSON it says it is. */
	function parseBody(request) {
		var bytes = request.body, type, text;

		if (bytes === null || bytes.length === 0)
			return null;
		type = header(own.headersGiven(request), 'content-type');
		if (own.test(jsonType, type)) {
			text = own.decode(bytes, true);
			if (text === undefined)
				return undefined;
			try {
				return own.parse(text);
			} catch (e) {
				if (e instanceof own.SyntaxError)
					return undefined;
				throw e;
			}
		}
		if (own.test(otherCharset, type))
			return bytes;
		if (own.test(textType, type))
			return own.decode(bytes, false);
		if (type === '') {
			text = own.decode(bytes, true);
			return text === undefined ? bytes : text;
		}
		return bytes;
	}

	/* The prepared request, or another. */
	function requestOf(from, parsed) {
		if (prepared === null || prepared.from !== from)
			return own.requestOf(from, parsed);
		prepared.state.parsed = parsed;
		return prepared.request;
	}

	function start(outcome, request, h) {
		var name = request['function'], parsed = null, args;

		if (name !== 'fetch') {
			parsed = parseBody(request);
			if (parsed === undefined) {
				fault(outcome, 'BAD_JSON', 'the body is not valid JSON');
				return;
			}
		}
		if (name === 'fetch')
			args = [requestOf(request, null), {}, contextOf(outcome)];
		else if (name === 'post')
			args = [requestOf(request, parsed), parsed];
		else if (name === 'get')
			args = [requestOf(request, parsed)];
		else
			args = [own.context];
		own.input = null;
		if (name === 'contract')
			own.input = typeof request.input === 'string' ?
			    own.parse(request.input) : parsed;
		returned(outcome, own.apply(h.fn, h.self, args));
	}

	function newOutcome() {
		var outcome = own.create(null);

		outcome.name = '';
		outcome.settled = false;
		outcome.fault = null;
		outcome.message = '';
		outcome.value = undefined;
		outcome.waiting = 0;
		return outcome;
	}

	function run(outcome, request) {
		var h = handlers[request['function']];

		outcome.name = request['function'];
		if (h === undefined) {
			fault(outcome, 'METHOD', 'the contract does not export ' + outcome.name);
			return;
		}
		try {
			start(outcome, request, h);
		} catch (e) {
			failed(outcome, e);
		}
	}

	function begin(request) {
		prepared = null;
		own.begin(request);
		current = newOutcome();
		run(current, request);
	}

	/*
	 * All that a request finds, made while there is time: the resets are done, the
	 * objects are there, and C fills in the request's own (wk_ready.c).  It serves one
	 * request; after that, if the heap is not put back, begin() serves the others.
	 * Timers have their time from when a request begins: with them, nothing is prepared.
	 */
	function prepare() {
		var from = own.create(null);

		if (own.hasKeptTimers())
			return undefined;
		from['function'] = 'get';
		from.headers = null;
		from.body = null;
		from.contract = { id: contract.id, owner: contract.owner, name: contract.name };
		from.block = undefined;
		from.caller = undefined;
		from.named = undefined;
		from.input = undefined;
		own.begin(from);
		current = newOutcome();
		prepared = own.prepareRequest(from);
		own.notice.due = false;
		prepared.notice = own.notice;
		prepared.outcome = current;
		prepared.get = handlers.get !== undefined ? handlers.get.fn : null;
		prepared.contract = contract.id;
		prepared.responseKey = own.RESPONSE;
		return prepared;
	}

	/* The prepared request's memory in C goes. */
	function keep() {
		if (prepared !== null)
			own.keepRequest(prepared);
	}

	/* Begin with what was prepared. */
	function beginPrepared() {
		run(current, prepared.from);
	}

	/* Nobody awaits a timer's callback: its error is the request's, if that still runs. */
	var uncaught = own.uncaught;

	own.uncaught = function (e) {
		own.notice.due = true;
		if (current !== null && !current.settled)
			failed(current, e);
		else
			uncaught(e);
	};

	function drain() {
		own.runMicrotasks();
		if (!current.settled)
			return false;
		if (current.waiting > 0 && current.fault === null) {
			if (own.timeout() >= 0 || own.operations() > 0)
				return false;
			own.log(1, 'waitUntil: a promise is pending, and no timer is left');
		}
		return true;
	}

	/* ---- the answer ---- */

	function reply(status, headers, body) {
		var r = own.create(null);

		r.status = status;
		r.headers = headers;
		r.body = body;
		return r;
	}

	function refusal(name, message) {
		var r = own.create(null);

		r.fault = name;
		r.message = message;
		return r;
	}

	function fromResponse(s) {
		var list = own.headerList(s.headers), out = own.list(), i;

		if (s.type === 'error')
			return refusal('RESULT', 'the handler returned Response.error()');
		if (s.used)
			return refusal('RESULT',
			    'the handler returned a response whose body has been read');
		for (i = 0; i < list.length; i++)
			out[i] = list[i];
		return reply(s.status, out, s.body);
	}

	function fromValue(value, name) {
		var headers = own.list(), s = own.responseState(value);

		if (s !== undefined)
			return fromResponse(s);
		if (value === undefined && name === 'init')
			value = null;
		if (value === undefined)
			return refusal('RESULT', 'the handler returned undefined: ' +
			    'expected a Response or a value that JSON can express');
		headers[0] = 'content-type';
		headers[1] = 'application/json';
		return reply(200, headers, own.jsonText(value, RETURNED));
	}

	function finish() {
		var outcome = current;

		if (outcome.fault !== null)
			return refusal(outcome.fault, outcome.message);
		try {
			return fromValue(outcome.value, outcome.name);
		} catch (e) {
			return refusal('RESULT', own.isRefusal(e) ? own.summary(e) :
			    own.describe(e));
		}
	}

	/* Why C got no JSON of what the handler returned. */
	function noText(threw, e) {
		try {
			throw threw ? own.cannotBeJson(e, RETURNED) : own.hasNoJson(RETURNED);
		} catch (e) {
			return refusal('RESULT', own.isRefusal(e) ? own.summary(e) :
			    own.describe(e));
		}
	}

	own.host.register({
		load: load,
		exports: exports,
		prepare: prepare,
		begin: begin,
		beginPrepared: beginPrepared,
		keep: keep,
		/* How the handler that C called went: the arguments of what they are named after. */
		failed: function (e) {
			failed(current, e);
		},
		returned: function (value) {
			returned(current, value);
		},
		settle: function (value) {
			settle(current, value);
		},
		follow: function (value, then) {
			follow(current, value, then);
		},
		noText: noText,
		drain: drain,
		timeout: own.timeout,
		fire: own.fire,
		answered: own.answered,
		finish: finish
	});
})(__host.own);
