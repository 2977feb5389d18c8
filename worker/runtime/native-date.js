/*
 * Dates out of text.  Duktape reads ISO 8601 only; HTTP's form and what people
 * write must work too, so the constructor is ours: it hands everything but texts
 * to Duktape's.  The time zone is UTC.
 */
(function (own) {
	'use strict';

	var Native = own.global.Date;
	var P = Native.prototype;
	var nativeParse = Native.parse;
	var UTC = Native.UTC;
	var time = own.free(P.getTime);
	var MONTHS = 'janfebmaraprmayjunjulaugsepoctnovdec';
	var DAY = '(?:(?:sun|mon|tue|wed|thu|fri|sat)[a-z]*\\.?,?\\s+)?';
	var MONTH = '(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\\.?';
	var CLOCK = '(\\d{1,2}):(\\d{2})(?::(\\d{2})(?:\\.(\\d{1,9}))?)?(?:\\s*([ap]m))?';
	var ZONE = '\\s*(z|gmt|utc?|[ecmp][sd]t)?(?:\\s*([+-])(\\d{2}):?(\\d{2}))?' +
	    '(?:\\s*\\([^()]*\\))?\\s*';
	var REST = '(?:(?:,|\\s|t)\\s*' + CLOCK + ')?' + ZONE + '$';

	/* Each says where year, month and day stand; then follow clock and zone. */
	function form(text, y, m, d, rest) {
		var f = own.create(null);

		f.re = new RegExp('^\\s*' + text, 'i');
		f.year = y;
		f.month = m;
		f.day = d;
		f.rest = rest;
		return f;
	}
	var forms = [
		/* Sun, 06 Nov 1994 08:49:37 GMT; Sunday, 06-Nov-94 08:49:37 GMT */
		form(DAY + '(\\d{1,2})[\\s-]+' + MONTH + ',?[\\s-]+(\\d{2,6})' + REST, 3, 2, 1, 4),
		/* Nov 6, 1994; Sun Nov 06 1994 08:49:37 GMT+0000 (Coordinated Universal Time) */
		form(DAY + MONTH + '\\s+(\\d{1,2}),?\\s+(\\d{2,6})(?![:\\d])' + REST, 3, 1, 2, 4),
		/* Sun Nov  6 08:49:37 1994 */
		form(DAY + MONTH + '\\s+(\\d{1,2})\\s+' + CLOCK + '\\s+(\\d{4,6})()()()()' +
		    '\\s*$', 8, 1, 2, 3),
		/* 11/6/1994 */
		form('(\\d{1,2})\\/(\\d{1,2})\\/(\\d{2,6})' + REST, 3, 1, 2, 4),
		/* 1994/11/6, 1994-11-6 8:49 */
		form('(\\d{4,6})[\\/-](\\d{1,2})[\\/-](\\d{1,2})' + REST, 1, 2, 3, 4)
	];
	var zones = own.create(null);

	zones.est = zones.cdt = -5;
	zones.edt = -4;
	zones.cst = zones.mdt = -6;
	zones.mst = zones.pdt = -7;
	zones.pst = -8;

	function number(text) {
		return text === undefined || text === '' ? 0 : +text;
	}

	function month(text) {
		return own.test(/^\d/, text) ? +text - 1 : own.indexOf(MONTHS, own.lower(text)) / 3;
	}

	function value(m, f) {
		var r = f.rest, y = +m[f.year], mo = month(m[f.month]), d = +m[f.day];
		var h = number(m[r]), mi = number(m[r + 1]), s = number(m[r + 2]), offset = 0, zone,
		    half;

		if (m[f.year].length <= 2)
			y += y < 50 ? 2000 : 1900;
		half = m[r + 4] === undefined || m[r + 4] === '' ? '' : own.lower(m[r + 4]);
		if (half !== '') {
			if (h < 1 || h > 12)
				return NaN;
			h = h % 12 + (half === 'pm' ? 12 : 0);
		}
		if (mo < 0 || mo > 11 || d < 1 || d > 31 || h > 24 || mi > 59 || s > 59)
			return NaN;
		if (f.rest + 5 < m.length && f.year < f.rest) {
			zone = m[r + 5] === undefined ? undefined : zones[own.lower(m[r + 5])];
			if (zone !== undefined)
				offset = zone * 60;
			if (m[r + 6] !== undefined)
				offset = (m[r + 6] === '-' ? -1 : 1) * (+m[r + 7] * 60 + +m[r + 8]);
		}
		return UTC(y, mo, d, h, mi, s, own.floor(number('0.' + (m[r + 3] === undefined ?
		    '' : m[r + 3]) + '0') * 1000)) -
		    offset * 60000;
	}

	/* Duktape takes the 13th month for the next January. */
	var iso = /^\s*(?:[+-]\d{6}|\d{4})-(\d\d)(?:-(\d\d)(?:[t ](\d\d):(\d\d)(?::(\d\d))?)?)?/i;

	function sane(text) {
		var m = own.exec(iso, text);

		return m === null || !(m[1] < 1 || m[1] > 12 || m[2] < 1 || m[2] > 31 ||
		    m[3] > 24 ||
		    m[4] > 59 || m[5] > 59);
	}

	function parse(text) {
		var n = nativeParse(text), i, m;

		if (n === n || text.length > 200)
			return sane(text) ? n : NaN;
		for (i = 0; i < forms.length; i++) {
			m = own.exec(forms[i].re, text);
			if (m !== null)
				return value(m, forms[i]);
		}
		return NaN;
	}

	/* What stands for a time in new Date(a). */
	function one(a) {
		var v;

		if (typeof a === 'string')
			return parse(a);
		if (!own.isObject(a))
			return a;
		try {
			return time(a);
		} catch (e) {
			v = a.valueOf();
			return typeof v === 'number' ? v : parse(own.String(a));
		}
	}

	function Date(a) {
		var made, target = new.target;

		if (target === undefined)
			return own.dateText(new Native());
		if (arguments.length === 0)
			made = new Native();
		else if (arguments.length === 1)
			made = new Native(one(a));
		else
			made = own.construct(Native, arguments);
		if (target !== Date && own.isObject(target.prototype))
			own.setPrototypeOf(made, target.prototype);
		return made;
	}
	own.fix(Date, 'prototype', P);
	own.fix(Date, 'length', 7);
	own.define(P, 'constructor', Date);
	own.methods(Date, {
		now: Native.now,
		UTC: UTC,
		parse: function (text) {
			return parse(own.String(text));
		}
	});
	own.define(own.global, 'Date', Date);
})(__host.own);
