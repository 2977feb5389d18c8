/*
 * From a line of compiled text back to the author's line (source map version 3).
 */
"use strict";

const DIGITS = new Map([..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"]
    .map((c, i) => [c, i]));

function* numbers(segment) {
	let value = 0, shift = 0;

	for (const c of segment) {
		const digit = DIGITS.get(c);

		value += (digit & 31) << shift;
		if (digit & 32) {
			shift += 5;
			continue;
		}
		yield value & 1 ? -(value >>> 1) : value >>> 1;
		value = shift = 0;
	}
}

/* { source, line } (from 1) for a compiled line (from 1); null: it is the compiler's own. */
function originalLine(map, wanted) {
	let source = 0, line = 0, found = null;
	const lines = map.mappings.split(";");

	for (let i = 0; i < Math.min(wanted, lines.length); i++)
		for (const segment of lines[i].split(",")) {
			const [, ds, dl] = [...numbers(segment)];

			if (ds === undefined)
				continue;
			source += ds;
			line += dl;
			if (i === wanted - 1 && found === null)
				found = { source: map.sources[source], line: line + 1 };
		}
	return found;
}

module.exports = { originalLine };
