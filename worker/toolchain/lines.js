/*
 * A line table: which line of the author's a line of compiled text came from.
 * Duktape's stacks know lines only, so the server needs no more than this of a
 * source map to log a stack in the author's terms (supervisor/sv_trace.c).
 *
 *	tana-lines 1
 *	s NAME			a source, counted from 0
 *	G S L			from line G of the compiled text on: line L of source S,
 *	G			or no source
 *
 * Lines count from 1.  An entry holds up to the next one, line by line.
 */
"use strict";

const { linePlaces } = require("./sourcemap");

const NAME_MAX = 255;

/* No name that could be taken for a line of ours, or spoil a log. */
function nameable(name) {
	return typeof name === "string" && Buffer.byteLength(name) <= NAME_MAX &&
	    /^[^\x00-\x1f\x7f]+$/.test(name);
}

function lineTable({ map, code }) {
	const names = [], index = new Map(), out = [];
	let source = null, shift = 0;		/* of the entry that holds now */

	linePlaces(map, code).forEach((place, i) => {
		const name = place && nameable(map.sources[place.source]) ?
		    map.sources[place.source] : null;

		if (name === null) {
			if (source !== null || i === 0)
				out.push(`${i + 1}`);
			source = null;
			return;
		}
		if (source === name && place.line - i === shift)
			return;
		if (!index.has(name)) {
			index.set(name, names.length);
			names.push(name);
		}
		source = name;
		shift = place.line - i;
		out.push(`${i + 1} ${index.get(name)} ${place.line}`);
	});
	return ["tana-lines 1", ...names.map((n) => `s ${n}`), ...out, ""].join("\n");
}

module.exports = { lineTable };
