/*
 * req.params: what the first route of contract.json that fits the path names.
 * A route is a path with segments ":name", and "*" at its end for any rest.
 */
(function (own) {
	'use strict';

	var decodeComponent = decodeURIComponent;
	var routes = own.list();

	function segments(path) {
		var out = own.list(), at = 0, end;

		while (own.slice(path, at, at + 1) === '/')
			at++;
		while (at < path.length) {
			end = own.indexOf(path, '/', at);
			if (end < 0)
				end = path.length;
			out[out.length] = own.slice(path, at, end);
			at = end + 1;
		}
		return out;
	}

	function decoded(text) {
		try {
			return decodeComponent(text);
		} catch (e) {
			return text;
		}
	}

	function rest(parts, from) {
		var text = '', i;

		for (i = from; i < parts.length; i++)
			text += (i > from ? '/' : '') + parts[i];
		return decoded(text);
	}

	/* The parameters, or null if the route does not fit. */
	function match(route, parts) {
		var params = own.create(null), i;

		for (i = 0; i < route.length; i++) {
			if (route[i] === '*' && i === route.length - 1) {
				params['*'] = rest(parts, i);
				return params;
			}
			if (i >= parts.length)
				return null;
			if (own.slice(route[i], 0, 1) === ':' && route[i].length > 1)
				params[own.slice(route[i], 1)] = decoded(parts[i]);
			else if (route[i] !== parts[i])
				return null;
		}
		return parts.length === route.length ? params : null;
	}

	own.setRoutes = function (list) {
		var i;

		if (routes.length > 0)
			routes = own.list();
		if (own.isArray(list))
			for (i = 0; i < list.length; i++)
				if (typeof list[i] === 'string')
					routes[routes.length] = segments(list[i]);
	};

	own.paramsOf = function (path) {
		var parts, params, i;

		if (routes.length === 0)
			return own.create(null);
		parts = segments(path);
		for (i = 0; i < routes.length; i++) {
			params = match(routes[i], parts);
			if (params !== null)
				return params;
		}
		return own.create(null);
	};
})(__host.own);
