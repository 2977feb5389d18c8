/*
 * Headers.  The state is a list: name, value, name, value ... with the names in
 * lower case, in the order of insertion.
 */
(function (own) {
	'use strict';

	var STATE = own.hidden('headers');
	var REFUSED = own.hidden('refused');
	var token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
	var valueText = /^[\t\u0020-\u007e\u0080-\u00ff]*$/;
	var edges = /^[\t\n\r ]+|[\t\n\r ]+$/g;
	var sort = own.free(Array.prototype.sort);
	var values = own.free(Array.prototype.values);

	/*
	 * An error about something that cannot be sent: if the contract lets it
	 * through, the fault is RESULT.
	 */
	own.refuse = function (Type, message) {
		var e = new Type(message);

		e[REFUSED] = true;
		return e;
	};
	own.isRefusal = function (e) {
		return own.isObject(e) && e[REFUSED] === true;
	};

	own.isHeaderName = function (name) {
		return typeof name === 'string' && own.test(token, name);
	};
	own.isHeaderValue = function (value) {
		return typeof value === 'string' && own.test(valueText, value);
	};

	function toName(name) {
		name = own.String(name);
		if (!own.isHeaderName(name))
			throw own.refuse(TypeError, 'invalid header name: ' + own.stringify(name));
		return own.lower(name);
	}

	function toValue(name, value) {
		value = own.replace(own.String(value), edges, '');
		if (!own.isHeaderValue(value))
			throw own.refuse(TypeError, 'invalid value of header ' + name + ': ' +
			    own.stringify(value));
		return value;
	}

	function state(headers) {
		var list = own.isObject(headers) ? headers[STATE] : undefined;

		if (list === undefined)
			throw new TypeError('Illegal invocation');
		return list;
	}

	function get(list, name) {
		var out = null, i;

		for (i = 0; i < list.length; i += 2)
			if (list[i] === name)
				out = out === null ? list[i + 1] : out + ', ' + list[i + 1];
		return out;
	}

	function append(list, name, value) {
		list[list.length] = name;
		list[list.length] = value;
	}

	function remove(list, name, from) {
		var i, n = from;

		for (i = from; i < list.length; i += 2) {
			if (list[i] === name)
				continue;
			list[n] = list[i];
			list[n + 1] = list[i + 1];
			n += 2;
		}
		list.length = n;
	}

	function set(list, name, value) {
		var i;

		for (i = 0; i < list.length; i += 2) {
			if (list[i] === name) {
				list[i + 1] = value;
				remove(list, name, i + 2);
				return;
			}
		}
		append(list, name, value);
	}

	function fill(list, init) {
		var keys, i, name, other;

		if (init === undefined || init === null)
			return;
		if (!own.isObject(init))
			throw new TypeError('Headers: expected an object');
		other = init[STATE];
		if (other !== undefined) {
			for (i = 0; i < other.length; i++)
				list[list.length] = other[i];
			return;
		}
		if (typeof init[own.ITERATOR] === 'function') {
			own.iterate(init, function (pair) {
				var two = own.list();

				own.iterate(pair, function (one) {
					two[two.length] = one;
				});
				if (two.length !== 2)
					throw new TypeError(
					    'Headers: expected pairs of a name and a value');
				name = toName(two[0]);
				append(list, name, toValue(name, two[1]));
			});
			return;
		}
		keys = own.keys(init);
		for (i = 0; i < keys.length; i++) {
			name = toName(keys[i]);
			append(list, name, toValue(name, init[keys[i]]));
		}
	}

	/* Sorted, values of one name joined, except set-cookie. */
	function pairs(list) {
		var names = own.list(), out = own.list(), i, j;

		for (i = 0; i < list.length; i += 2)
			names[names.length] = list[i];
		sort(names);
		for (i = 0; i < names.length; i++) {
			if (i > 0 && names[i] === names[i - 1])
				continue;
			if (names[i] !== 'set-cookie') {
				out[out.length] = [names[i], get(list, names[i])];
				continue;
			}
			for (j = 0; j < list.length; j += 2)
				if (list[j] === 'set-cookie')
					out[out.length] = ['set-cookie', list[j + 1]];
		}
		return out;
	}

	function iterator(list, column) {
		var all = pairs(list), i;

		if (column >= 0)
			for (i = 0; i < all.length; i++)
				all[i] = all[i][column];
		return values(own.array(all));
	}

	function Headers(init) {
		if (!(this instanceof Headers))
			throw new TypeError('Constructor Headers requires \'new\'');
		this[STATE] = own.list();
		fill(this[STATE], init);
	}
	own.methods(Headers.prototype, {
		append: function (name, value) {
			name = toName(name);
			append(state(this), name, toValue(name, value));
		},
		'delete': function (name) {
			remove(state(this), toName(name), 0);
		},
		get: function (name) {
			return get(state(this), toName(name));
		},
		getSetCookie: function getSetCookie() {
			var list = state(this), out = own.list(), i;

			for (i = 0; i < list.length; i += 2)
				if (list[i] === 'set-cookie')
					out[out.length] = list[i + 1];
			return own.array(out);
		},
		has: function has(name) {
			return get(state(this), toName(name)) !== null;
		},
		set: function (name, value) {
			name = toName(name);
			set(state(this), name, toValue(name, value));
		},
		forEach: function forEach(callback, self) {
			var all = pairs(state(this)), i;

			if (typeof callback !== 'function')
				throw new TypeError('forEach: the callback is not a function');
			for (i = 0; i < all.length; i++)
				own.apply(callback, self, [all[i][1], all[i][0], this]);
		},
		entries: function entries() {
			return iterator(state(this), -1);
		},
		keys: function keys() {
			return iterator(state(this), 0);
		},
		values: function () {
			return iterator(state(this), 1);
		}
	});
	own.define(Headers.prototype, own.ITERATOR, Headers.prototype.entries);
	own.define(Headers.prototype, Symbol.toStringTag, 'Headers');
	own.define(own.global, 'Headers', Headers);

	/* From a list that is right already: a request's, as C hands it over. */
	own.headersOf = function (list) {
		var headers = new Headers(), to = headers[STATE], i;

		for (i = 0; i < list.length; i++)
			to[i] = list[i];
		return headers;
	};
	own.headersFrom = function (init) {
		return new Headers(init);
	};
	own.headerList = function (headers) {
		return state(headers);
	};
	own.header = function (headers, name) {
		return get(state(headers), name);
	};
	own.setHeader = function (headers, name, value) {
		set(state(headers), name, value);
	};
})(__host.own);
