/*
 * From a place in compiled text back to the author's (source map version 3).
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

/*
 * { source, line, column } (from 1) for a line (from 1) and a column (from 0) of the
 * compiled text: what begins there or last before it on the line, or else first on
 * it.  null: the line is the compiler's own.
 */
function originalPlace(map, wantedLine, wantedColumn) {
	let source = 0, line = 0, column = 0, found = null;
	const lines = map.mappings.split(";");

	for (let i = 0; i < Math.min(wantedLine, lines.length); i++) {
		let at = 0;

		for (const segment of lines[i].split(",")) {
			const [da, ds, dl, dc] = [...numbers(segment)];

			at += da;
			if (ds === undefined)
				continue;
			source += ds;
			line += dl;
			column += dc;
			if (i === wantedLine - 1 && (found === null || at <= wantedColumn))
				found = [source, line, column];
		}
	}
	if (found === null)
		return null;
	[source, line, column] = found;
	return { source: map.sources[source], line: line + 1, column: column + 1 };
}

/*
 * The column (from 0) that a line of a stack is taken to mean: that of a throw, which
 * the compiler likes to put behind its condition; else the first.
 */
function likelyColumn(lineText) {
	return Math.max(0, lineText.search(/\bthrow\b/));
}

/* For each line of the compiled text its place: { source: index, line } or null. */
function linePlaces(map, code) {
	const texts = code.split("\n");
	let source = 0, line = 0;

	return map.mappings.split(";").map((segments, i) => {
		const wanted = likelyColumn(texts[i] || "");
		let at = 0, found = null;

		for (const segment of segments.split(",")) {
			const [da, ds, dl] = [...numbers(segment)];

			at += da;
			if (ds === undefined)
				continue;
			source += ds;
			line += dl;
			if (found === null || at <= wanted)
				found = { source, line: line + 1 };
		}
		return found;
	});
}

/* A stack of Duktape's with the author's lines; `built`: name -> { map, code } of each file. */
function tracedText(text, built) {
	const places = new Map();

	return text.replace(/\(([a-z]+\.js):([0-9]+)\)/g, (frame, name, line) => {
		if (!built.has(name))
			return frame;
		const { map, code } = built.get(name);

		if (!places.has(name))
			places.set(name, linePlaces(map, code));
		const place = places.get(name)[Number(line) - 1];

		return place ? `(${map.sources[place.source]}:${place.line})` : frame;
	});
}

module.exports = { originalPlace, likelyColumn, linePlaces, tracedText };
