/*
 * Dates as text.  Duktape writes a form of its own everywhere; what goes into
 * cookies and HTTP headers must be the standard's.  The time zone is UTC; there
 * is no Intl: the locale is en-US, and options that would need one are refused.
 */
(function (own) {
	'use strict';

	var DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
	var MONTHS = [
		'Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'
	];
	var NEEDS_INTL = [
		'weekday', 'era', 'year', 'month', 'day', 'dayPeriod', 'hour', 'minute', 'second',
		'fractionalSecondDigits', 'timeZoneName', 'dateStyle', 'timeStyle', 'hour12',
		'hourCycle'
	];
	var P = Date.prototype;
	var time = own.free(P.getTime);
	var year = own.free(P.getUTCFullYear);
	var month = own.free(P.getUTCMonth);
	var date = own.free(P.getUTCDate);
	var day = own.free(P.getUTCDay);
	var hours = own.free(P.getUTCHours);
	var minutes = own.free(P.getUTCMinutes);
	var seconds = own.free(P.getUTCSeconds);

	function two(n) {
		return n < 10 ? '0' + n : '' + n;
	}

	function years(d) {
		var n = year(d), text = '' + (n < 0 ? -n : n);

		while (text.length < 4)
			text = '0' + text;
		return n < 0 ? '-' + text : text;
	}

	function clock(d) {
		return two(hours(d)) + ':' + two(minutes(d)) + ':' + two(seconds(d));
	}

	function dateText(d) {
		return DAYS[day(d)] + ' ' + MONTHS[month(d)] + ' ' + two(date(d)) + ' ' + years(d);
	}

	function timeText(d) {
		return clock(d) + ' GMT+0000 (Coordinated Universal Time)';
	}

	function localDate(d) {
		return month(d) + 1 + '/' + date(d) + '/' + year(d);
	}

	function localTime(d) {
		var h = hours(d);

		return (h % 12 === 0 ? 12 : h % 12) + ':' + two(minutes(d)) + ':' +
		    two(seconds(d)) + (h < 12 ? ' AM' : ' PM');
	}

	function text(name, fn) {
		own.define(P, name, function () {
			return time(this) !== time(this) ? 'Invalid Date' : fn(this);
		});
		own.define(P[name], 'name', name);
	}

	function refuse(name, what) {
		return new RangeError(name + ': the ' + what +
		    ' is not available in this version of tana-edge');
	}

	function localeText(name, fn) {
		own.define(P, name, function (locales, options) {
			var i, zone;

			if (time(this) !== time(this))
				return 'Invalid Date';
			if (options !== undefined && options !== null) {
				for (i = 0; i < NEEDS_INTL.length; i++)
					if (options[NEEDS_INTL[i]] !== undefined)
						throw refuse(name, 'option ' + NEEDS_INTL[i]);
				zone = options.timeZone === undefined ? 'UTC' :
				    own.String(options.timeZone);
				if (!own.test(/^(utc|gmt|etc\/utc)$/i, zone))
					throw refuse(name, 'time zone ' + zone);
			}
			return fn(this);
		});
		own.define(P[name], 'name', name);
	}

	text('toUTCString', function (d) {
		return DAYS[day(d)] + ', ' + two(date(d)) + ' ' + MONTHS[month(d)] + ' ' +
		    years(d) + ' ' + clock(d) + ' GMT';
	});
	own.define(P, 'toGMTString', P.toUTCString);
	text('toDateString', dateText);
	text('toTimeString', timeText);
	own.dateText = function (d) {
		return dateText(d) + ' ' + timeText(d);
	};
	text('toString', own.dateText);
	localeText('toLocaleDateString', localDate);
	localeText('toLocaleTimeString', localTime);
	localeText('toLocaleString', function (d) {
		return localDate(d) + ', ' + localTime(d);
	});
})(__host.own);
