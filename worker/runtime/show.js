/*
 * Values as text for a log or an error message, whatever they are: a contract's
 * getters, proxies and cycles never make it throw, and its size is bounded.
 */
(function (own) {
	'use strict';

	var TEXT_MAX = 16384;		/* C cuts a record there */
	var DEPTH_MAX = 32;
	var quote = JSON.stringify;	/* of strings only */

	function cut(text, max) {
		return text.length > max ? own.slice(text, 0, max) + '...' : text;
	}

	function name(fn) {
		var n;

		try {
			n = fn.name;
		} catch (e) {
			n = '';
		}
		return typeof n === 'string' && n !== '' ? '[Function: ' + cut(n, 100) + ']' :
		    '[Function]';
	}

	function symbol(value) {
		try {
			return own.String(value);
		} catch (e) {
			return 'Symbol()';
		}
	}

	function isError(value) {
		try {
			return value instanceof Error;
		} catch (e) {
			return false;
		}
	}

	/* "TypeError: text" */
	function head(error) {
		try {
			return cut(own.String(error), 2000);
		} catch (e) {
			return 'an error that cannot be shown';
		}
	}

	function seen(above, value) {
		var i;

		for (i = 0; i < above.length; i++)
			if (above[i] === value)
				return true;
		return false;
	}

	/* JSON of value, or undefined where JSON leaves something out. */
	function json(value, key, above, left) {
		var fn;

		if (left.bytes <= 0)
			return '"..."';
		if (own.isObject(value)) {
			try {
				fn = value.toJSON;
				if (typeof fn === 'function')
					value = own.apply(fn, value, [key]);
			} catch (e) {
				return quote('[threw ' + cut(head(e), 200) + ']');
			}
		}
		switch (typeof value) {
		case 'string':
			value = quote(cut(value, left.bytes));
			left.bytes -= value.length;
			return value;
		case 'number':
			left.bytes -= 8;
			return value - value === 0 ? '' + value : 'null';
		case 'boolean':
			left.bytes -= 5;
			return value ? 'true' : 'false';
		case 'object':
			if (value === null)
				return 'null';
			break;
		default:
			return undefined;
		}
		if (seen(above, value))
			return '"[Circular]"';
		if (above.length >= DEPTH_MAX)
			return '"[...]"';
		if (isError(value))
			return quote(head(value));
		above[above.length] = value;
		try {
			return own.isArray(value) ? elements(value, above, left) :
			    members(value, above, left);
		} catch (e) {
			return quote('[threw ' + cut(head(e), 200) + ']');
		} finally {
			above.length--;
		}
	}

	/* One property's JSON: its getter may throw. */
	function item(object, key, above, left) {
		var value;

		try {
			value = object[key];
		} catch (e) {
			return quote('[threw ' + cut(head(e), 200) + ']');
		}
		return json(value, '' + key, above, left);
	}

	function elements(array, above, left) {
		var out = '', i, text;

		for (i = 0; i < array.length; i++) {
			if (left.bytes <= 0) {
				out += ',"..."';
				break;
			}
			text = item(array, i, above, left);
			out += (i > 0 ? ',' : '') + (text === undefined ? 'null' : text);
			left.bytes -= 1;
		}
		return '[' + out + ']';
	}

	function members(object, above, left) {
		var keys = own.keys(object), out = '', i, text;

		for (i = 0; i < keys.length; i++) {
			if (left.bytes <= 0) {
				out += (out === '' ? '' : ',') + '"...":"..."';
				break;
			}
			text = item(object, keys[i], above, left);
			if (text === undefined)
				continue;
			out += (out === '' ? '' : ',') + quote(cut(keys[i], left.bytes)) + ':' +
			    text;
			left.bytes -= keys[i].length + 4;
		}
		return '{' + out + '}';
	}

	/* Frames inside Duktape and inside our own machinery tell an author nothing. */
	var noYield = / preventsyield$/;
	var inner = /^    at .*(\) internal$|\((core-js-bundle\/|(tana|tana-data|operations|microtasks)\.js:))/;

	function clean(stack) {
		var out = '', at = 0, end, line;

		while (at < stack.length && out.length < TEXT_MAX) {
			end = own.indexOf(stack, '\n', at);
			if (end < 0)
				end = stack.length;
			/* What C calls may not yield, of which Duktape tells. */
			line = own.replace(own.slice(stack, at, end), noYield, '');
			at = end + 1;
			if (!own.test(inner, line))
				out += (out === '' ? '' : '\n') + line;
		}
		return cut(out, TEXT_MAX);
	}

	/* As console prints it: strings as they are, the rest as JSON. */
	own.show = function (value) {
		var left = own.create(null), text;

		switch (typeof value) {
		case 'string':
			return cut(value, TEXT_MAX);
		case 'number':
			return '' + value;
		case 'function':
			return name(value);
		case 'symbol':
			return symbol(value);
		case 'undefined':
			return 'undefined';
		}
		if (isError(value))
			return own.describe(value);
		left.bytes = TEXT_MAX;
		text = json(value, '', own.list(), left);
		return text === undefined ? 'undefined' : text;
	};

	/* What was thrown, with its stack if it has one. */
	own.describe = function (thrown) {
		var stack;

		if (own.isObject(thrown)) {
			try {
				stack = thrown.stack;
				if (typeof stack === 'string' && stack !== '')
					return clean(stack);
			} catch (e) {
				return 'an error whose stack cannot be read: ' + head(e);
			}
			if (isError(thrown))
				return head(thrown);
		}
		return own.show(thrown);
	};

	/* In one line. */
	own.summary = head;
})(__host.own);
