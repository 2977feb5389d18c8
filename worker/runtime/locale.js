/*
 * Number.prototype.toLocaleString: Duktape takes the locale for a radix and
 * throws.  There is no Intl: the answer is the one for en-US, with the options
 * about fraction digits, grouping and percent; other styles are refused.
 */
(function (own) {
	'use strict';

	var toFixed = own.free(Number.prototype.toFixed);
	var valueOf = own.free(Number.prototype.valueOf);

	function digits(options, name, least) {
		var n = options[name];

		if (n === undefined)
			return undefined;
		n = +n;
		if (!(n >= least && n <= 20))
			throw new RangeError(name + ' value is out of range.');
		return own.floor(n);
	}

	function group(whole) {
		var out = '';

		while (whole.length > 3) {
			out = ',' + own.slice(whole, -3) + out;
			whole = own.slice(whole, 0, -3);
		}
		return whole + out;
	}

	own.define(Number.prototype, 'toLocaleString', function toLocaleString(locales, options) {
		var n = valueOf(this), percent = false, least, most, text, dot, fraction;

		options = options === undefined || options === null ? own.create(null) : options;
		if (options.style !== undefined && options.style !== 'decimal') {
			percent = options.style === 'percent';
			if (!percent)
				throw new RangeError('toLocaleString: style \'' +
				    own.String(options.style) +
				    '\' is not available in this version of tana-edge');
			n *= 100;
		}
		least = digits(options, 'minimumFractionDigits', 0);
		most = digits(options, 'maximumFractionDigits', 0);
		if (least !== undefined && most !== undefined && least > most)
			throw new RangeError('maximumFractionDigits value is out of range.');
		if (least === undefined)
			least = 0;
		if (most === undefined)
			most = least > (percent ? 0 : 3) ? least : percent ? 0 : 3;
		if (n !== n)
			return 'NaN';
		if (n === Infinity || n === -Infinity)
			return n < 0 ? '-\u221e' : '\u221e';
		if (n >= 1e21 || n <= -1e21)
			return '' + n;
		text = toFixed(n < 0 ? -n : n, most);
		dot = own.indexOf(text, '.');
		fraction = dot < 0 ? '' : own.slice(text, dot + 1);
		text = dot < 0 ? text : own.slice(text, 0, dot);
		while (fraction.length > least && own.slice(fraction, -1) === '0')
			fraction = own.slice(fraction, 0, -1);
		if (options.useGrouping !== false)
			text = group(text);
		if (fraction !== '')
			text += '.' + fraction;
		return (n < 0 && own.test(/[1-9]/, text) ? '-' : '') + text + (percent ? '%' : '');
	});
})(__host.own);
