/*
 * tana/data: a contract's own key-value storage.
 *
 * What a request changes is staged here until commit() sends it, together with
 * what it has read: the front takes all of it, or, if another request has changed
 * what was read, nothing.  What was read is kept for the request's life, so that
 * it reads the same again.
 *
 * A value is kept as a text with a letter before it, which no size counts: s for a
 * string as it is, j for JSON.  (A string with half a surrogate pair has no UTF-8:
 * it goes as JSON.)
 */
(function (own) {
	'use strict';

	var KEY_MAX = 256, VALUE_MAX = 10240, TOTAL_MAX = 102400, KEYS_MAX = 1000;
	var GET = 1, KEYS = 2, ENTRIES = 3, COMMIT = 4;	/* operations.def */
	var CONFLICT = /^Conflict: /;
	var Failure = Error, TypeFailure = TypeError;
	var sort = own.free(Array.prototype.sort);
	var stringify = JSON.stringify;		/* ours: well-formed, whatever goes in */
	var data = {};
	var staged, stagedBytes, stagedKeys;	/* key -> { text (null: deleted), bytes } */
	var cleared;				/* an object for each clear(), or null */
	var read;				/* key -> { version, text (null: not there) } */
	var listing;				/* what keys() has read, or null */
	var matches;				/* its answers: pattern -> { members, names } */
	var committing;				/* the commit under way, or null */
	var commits;				/* those that wait for it */
	var used = false;			/* any of these, since the request began */

	function begin() {
		staged = own.create(null);
		stagedBytes = stagedKeys = 0;
		cleared = null;
		read = own.create(null);
		listing = null;
		matches = own.create(null);
	}

	/* A method: fn(done, fail, arguments ...) may answer now or later, or throw. */
	function method(name, fn) {
		own.define(data, name, function (a, b) {
			return new own.Promise(function (resolve, reject) {
				try {
					if (own.request === null)
						throw new Failure('data.' + name +
						    ': there is no request yet');
					used = true;
					fn(resolve, reject, a, b);
				} catch (e) {
					reject(e);
				}
			});
		});
		own.define(data[name], 'name', name);
	}

	/* ---- keys and values ---- */

	function keyOf(key, what) {
		var bytes;

		if (typeof key !== 'string') {
			if (typeof key !== 'number' && typeof key !== 'boolean')
				throw new TypeFailure(what + ' must be a string');
			key = own.String(key);
		}
		bytes = own.host.bytes(key);
		if (bytes > KEY_MAX)
			throw new Failure(what + ' too large: ' + bytes + ' bytes (max ' +
			    KEY_MAX + ')');
		return bytes === key.length ? key : own.host.wellFormed(key);
	}

	function jsonOf(value) {
		var text;

		try {
			text = stringify(value);
		} catch (e) {
			throw new TypeFailure('Value cannot be expressed in JSON: ' +
			    own.summary(e));
		}
		if (typeof text !== 'string')
			throw new TypeFailure('Value cannot be expressed in JSON: it is ' +
			    (value === undefined ? 'undefined' : 'a ' + typeof value));
		return text;
	}

	function textOf(value) {
		var text, bytes;

		if (typeof value === 'string' && own.host.wellFormed(value) === value)
			text = 's' + value;
		else
			text = 'j' + jsonOf(value);
		bytes = own.host.bytes(text) - 1;
		if (bytes > VALUE_MAX)
			throw new Failure('Value too large: ' + bytes + ' bytes (max ' +
			    VALUE_MAX + ')');
		return text;
	}

	/* Another object each time: what a contract does to it stays its own affair. */
	function valueOf(text) {
		if (text === null)
			return null;
		return own.slice(text, 0, 1) === 's' ? own.slice(text, 1) :
		    own.parse(own.slice(text, 1));
	}

	/* Glob with *, which is any text; everything else is itself. */
	function matching(pattern, key) {
		var p = 0, k = 0, star = -1, mark = 0;

		if (pattern === '*')
			return true;
		while (k < key.length) {
			if (p < pattern.length && own.charCodeAt(pattern, p) === 42) {
				star = p++;
				mark = k;
			} else if (p < pattern.length &&
			    own.charCodeAt(pattern, p) === own.charCodeAt(key, k)) {
				p++;
				k++;
			} else if (star >= 0) {
				p = star + 1;
				k = ++mark;
			} else {
				return false;
			}
		}
		while (p < pattern.length && own.charCodeAt(pattern, p) === 42)
			p++;
		return p === pattern.length;
	}

	/* ---- staging ---- */

	function unstage(key) {
		var e = staged[key];

		if (e !== undefined && e.text !== null) {
			stagedBytes -= e.bytes;
			stagedKeys--;
		}
		delete staged[key];
	}

	function stage(key, text) {
		var e = own.create(null), old = staged[key], bytes, keys;

		e.text = text;
		e.bytes = text === null ? 0 : own.host.bytes(key) + own.host.bytes(text) - 1;
		if (text !== null) {
			/* These alone could never be committed. */
			bytes = stagedBytes + e.bytes;
			keys = stagedKeys + 1;
			if (old !== undefined && old.text !== null) {
				bytes -= old.bytes;
				keys--;
			}
			if (keys > KEYS_MAX)
				throw new Failure('Too many keys: ' + keys + ' (max ' +
				    KEYS_MAX + ')');
			if (bytes > TOTAL_MAX)
				throw new Failure('Storage limit exceeded: ' + bytes +
				    ' bytes (max ' + TOTAL_MAX + ')');
		}
		unstage(key);
		if (text !== null) {
			stagedBytes += e.bytes;
			stagedKeys++;
		}
		staged[key] = e;
	}

	/* ---- reading ---- */

	function remember(key, version, text) {
		var r = read[key];

		/* The first to be read is what this request has seen. */
		if (r === undefined) {
			r = read[key] = own.create(null);
			r.version = version;
			r.text = text;
		}
		return r;
	}

	/* use(text): the staged text, else the stored one, null if there is none. */
	function look(key, use, fail) {
		var texts;

		if (staged[key] !== undefined) {
			use(staged[key].text);
		} else if (cleared !== null) {
			use(null);
		} else if (read[key] !== undefined) {
			use(read[key].text);
		} else {
			texts = own.list();
			texts[0] = key;
			own.operate(GET, texts, function (answer) {
				use(remember(key, answer[0],
				    answer.length > 1 ? answer[1] : null).text);
			}, fail);
		}
	}

	/* Have the stored keys, with their values if they are wanted. */
	function list(values, use, fail) {
		if (cleared !== null || listing !== null && (listing.values || !values)) {
			use();
			return;
		}
		own.operate(values ? ENTRIES : KEYS, own.list(), function (answer) {
			var step = values ? 3 : 2, i;

			if (listing === null) {
				listing = own.create(null);
				listing.members = answer[0];
				listing.keys = own.create(null);
				for (i = 1; i < answer.length; i += step)
					listing.keys[answer[i]] = true;
			}
			listing.values = values || listing.values === true;
			for (i = 1; values && i < answer.length; i += step)
				remember(answer[i], answer[i + 1], answer[i + 2]);
			use();
		}, fail);
	}

	function present(key) {
		var e = staged[key];

		return e === undefined || e.text !== null;
	}

	/* What matches, stored and staged, in order; what is stored becomes something read. */
	function names(pattern) {
		var out = own.list(), stored = own.create(null), all, i, m;

		if (cleared === null) {
			all = own.keys(listing.keys);
			for (i = 0; i < all.length; i++) {
				if (!matching(pattern, all[i]))
					continue;
				stored[all[i]] = true;
				if (present(all[i]))
					out[out.length] = all[i];
			}
			/* As with values, the first answer is what this request has seen. */
			if (matches[pattern] === undefined) {
				m = matches[pattern] = own.create(null);
				m.members = listing.members;
				m.names = stored;
			}
		}
		all = own.keys(staged);
		for (i = 0; i < all.length; i++)
			if (present(all[i]) && stored[all[i]] === undefined &&
			    matching(pattern, all[i]))
				out[out.length] = all[i];
		return own.array(sort(out));
	}

	/* ---- commit ---- */

	function add(texts) {
		var i;

		for (i = 1; i < arguments.length; i++)
			texts[texts.length] = arguments[i];
	}

	function request(c) {
		var texts = own.list(), keys, i, j, all, m;

		keys = own.keys(read);
		for (i = 0; i < keys.length; i++)
			add(texts, 'r', keys[i], read[keys[i]].version);
		keys = own.keys(matches);
		for (i = 0; i < keys.length; i++) {
			m = matches[keys[i]];
			all = own.keys(m.names);
			add(texts, 'm', keys[i], m.members, own.String(all.length));
			for (j = 0; j < all.length; j++)
				add(texts, all[j]);
		}
		if (c.cleared !== null)
			add(texts, 'c');
		keys = own.keys(c.staged);
		for (i = 0; i < keys.length; i++) {
			if (c.staged[keys[i]].text !== null)
				add(texts, 's', keys[i], c.staged[keys[i]].text);
			else
				add(texts, 'd', keys[i]);
		}
		return texts;
	}

	/* The storage has it: what was staged is now what would be read. */
	function committed(c, version) {
		var patterns = own.keys(matches), keys, i, j, e, r, m;

		if (c.cleared !== null) {
			keys = own.keys(read);
			for (i = 0; i < keys.length; i++) {
				read[keys[i]].version = '0';
				read[keys[i]].text = null;
			}
			for (i = 0; i < patterns.length; i++)
				matches[patterns[i]].names = own.create(null);
			if (cleared === c.cleared)
				cleared = null;
		}
		keys = own.keys(c.staged);
		for (i = 0; i < keys.length; i++) {
			e = c.staged[keys[i]];
			r = remember(keys[i], '0', null);
			r.version = e.text === null ? '0' : version;
			r.text = e.text;
			for (j = 0; j < patterns.length; j++) {
				m = matches[patterns[j]];
				if (e.text === null)
					delete m.names[keys[i]];
				else if (matching(patterns[j], keys[i]))
					m.names[keys[i]] = true;
			}
			if (staged[keys[i]] === e)
				unstage(keys[i]);
		}
		/* Ours is the last change of the keys: only comparing can tell of a later one. */
		for (i = 0; i < patterns.length; i++)
			matches[patterns[i]].members = '0';
		listing = null;
	}

	function copy(from) {
		var out = own.create(null), keys = own.keys(from), i;

		for (i = 0; i < keys.length; i++)
			out[keys[i]] = from[keys[i]];
		return out;
	}

	function next() {
		var waiting = commits, i;

		committing = null;
		commits = own.list();
		for (i = 0; i < waiting.length; i++) {
			try {
				commit(waiting[i].done, waiting[i].fail);
			} catch (e) {
				waiting[i].fail(e);
			}
		}
	}

	/* One at a time: another waits, and then takes what is staged by then. */
	function commit(done, fail) {
		var c = own.create(null);

		c.done = done;
		c.fail = fail;
		if (committing !== null) {
			commits[commits.length] = c;
			return;
		}
		if (cleared === null && own.keys(staged).length === 0) {
			done();
			return;
		}
		c.staged = copy(staged);
		c.cleared = cleared;
		committing = c;
		try {
			own.operate(COMMIT, request(c), function (answer) {
				committed(c, answer[0]);
				done();
				next();
			}, function (e) {
				/* What was read is so no longer, nor what was made of it. */
				if (own.test(CONFLICT, e.message))
					begin();
				fail(e);
				next();
			});
		} catch (e) {
			committing = null;
			throw e;
		}
	}

	/* ---- the interface ---- */

	method('set', function (done, fail, key, value) {
		stage(keyOf(key, 'Key'), textOf(value));
		done();
	});
	method('get', function (done, fail, key) {
		look(keyOf(key, 'Key'), function (text) {
			done(valueOf(text));
		}, fail);
	});
	method('delete', function (done, fail, key) {
		stage(keyOf(key, 'Key'), null);
		done();
	});
	method('has', function (done, fail, key) {
		look(keyOf(key, 'Key'), function (text) {
			done(text !== null);
		}, fail);
	});
	method('keys', function (done, fail, pattern) {
		pattern = pattern === undefined || pattern === null ? '*' :
		    keyOf(pattern, 'Pattern');
		list(false, function () {
			done(names(pattern));
		}, fail);
	});
	method('entries', function (done, fail) {
		list(true, function () {
			var all = names('*'), out = own.list(), pair, i, e;

			for (i = 0; i < all.length; i++) {
				e = staged[all[i]] !== undefined ? staged[all[i]] : read[all[i]];
				/* Gone between two looks: commit() will find that. */
				if (e === undefined || e.text === null)
					continue;
				pair = own.list();
				pair[0] = all[i];
				pair[1] = valueOf(e.text);
				out[out.length] = own.array(pair);
			}
			done(own.array(out));
		}, fail);
	});
	method('clear', function (done) {
		staged = own.create(null);
		stagedBytes = stagedKeys = 0;
		cleared = own.create(null);
		done();
	});
	method('commit', commit);

	own.put(data, 'MAX_KEY_SIZE', KEY_MAX);
	own.put(data, 'MAX_VALUE_SIZE', VALUE_MAX);
	own.put(data, 'MAX_TOTAL_SIZE', TOTAL_MAX);
	own.put(data, 'MAX_KEYS', KEYS_MAX);

	own.onBegin(function () {
		if (!used)
			return;
		used = false;
		begin();
		committing = null;
		commits = own.list();
	});
	begin();
	commits = own.list();
	committing = null;

	own.module('data', data, { data: data });
})(__host.own);
