/*
 * The error constructors with ES2022's `cause`, and V8's Error.captureStackTrace,
 * which packages call without asking.  (core-js's constructors would be the first
 * frames of every stack, and the place that a deployment names.)
 */
(function (own) {
	'use strict';

	var TRACE = own.host.traceKey;	/* an array: function, position, function ... */
	var names = [
		'Error', 'EvalError', 'RangeError', 'ReferenceError', 'SyntaxError', 'TypeError',
		'URIError'
	];
	var Base = null;

	var ours = /^(native-error|construct)\.js$/;

	/* Leave our own frames, and native ones between, out of the error's stack. */
	own.trim = function (error) {
		var trace = error[TRACE], n = 0, i, file;

		if (trace === undefined)
			return;
		for (i = 0; i + 1 < trace.length && typeof trace[i] === 'function'; i += 2) {
			file = trace[i].fileName;
			if (typeof file === 'string' && !own.test(ours, file))
				break;
			if (typeof file === 'string')
				n = i + 2;
		}
		if (n === 0)
			return;
		for (i = n; i < trace.length; i++)
			trace[i - n] = trace[i];
		trace.length -= n;
	};

	function replace(name) {
		var Native = own.global[name], prototype = Native.prototype, Made;

		Made = function (message, options) {
			var e = message === undefined ? new Native() : new Native(message);
			var target = new.target;

			own.trim(e);
			if (target !== undefined && target !== Made &&
			    own.isObject(target.prototype))
				own.setPrototypeOf(e, target.prototype);
			if (own.isObject(options) && 'cause' in options)
				own.define(e, 'cause', options.cause);
			return e;
		};
		own.fix(Made, 'name', name);
		own.fix(Made, 'length', 1);
		own.fix(Made, 'prototype', prototype);
		own.define(prototype, 'constructor', Made);
		if (Base !== null)
			own.setPrototypeOf(Made, Base);
		else
			Base = Made;
		own.define(own.global, name, Made);
	}

	for (var i = 0; i < names.length; i++)
		replace(names[i]);

	own.TypeError = own.global.TypeError;
	own.SyntaxError = own.global.SyntaxError;
	own.URIError = own.global.URIError;

	own.define(Base, 'captureStackTrace', function captureStackTrace(object) {
		var name, message, error, trace;

		if (!own.isObject(object))
			throw new TypeError('captureStackTrace: not an object');
		if (object[TRACE] !== undefined)
			return;		/* it has had its stack from the start */
		name = object.name;
		message = object.message;
		error = new Error('');
		own.trim(error);
		trace = error.stack;
		trace = own.slice(trace, own.indexOf(trace, '\n') + 1);
		own.define(object, 'stack', (name === undefined ? 'Error' : own.String(name)) +
		    (message === undefined || message === '' ? '' : ': ' + own.String(message)) +
		    '\n' + trace);
	});
	own.define(Base, 'stackTraceLimit', 10);

	/* The place of an error is the contract's line that led to it, not one of ours. */
	var frame = /\(([^()]*):(\d+)\)/;

	own.blame = function (error, file) {
		var stack, at = 0, end, found;

		if (!own.isObject(error) || error[TRACE] === undefined || error.fileName === file)
			return;
		stack = error.stack;
		if (typeof stack !== 'string')
			return;
		while (at < stack.length) {
			end = own.indexOf(stack, '\n', at);
			if (end < 0)
				end = stack.length;
			found = own.exec(frame, own.slice(stack, at, end));
			at = end + 1;
			if (found !== null && found[1] === file) {
				own.define(error, 'fileName', file);
				own.define(error, 'lineNumber', +found[2]);
				return;
			}
		}
	};
})(__host.own);
