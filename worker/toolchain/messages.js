/*
 * What went wrong, where, and how it is shown to the author of a contract.
 *
 * A diagnostic: { text, file, line, column, length, lineText, notes }; line and
 * column count from 1, the column in characters; all but text may be missing.
 */
"use strict";

const SHOWN_MAX = 20;
const LINE_MAX = 160;

/* The author's fault: diagnostics, never a bug of ours. */
class Failure extends Error {
	constructor(diagnostics) {
		const list = Array.isArray(diagnostics) ? diagnostics : [diagnostics];
		super(list.map((d) => d.text).join("; "));
		this.name = "Failure";
		this.diagnostics = list.map((d) => typeof d === "string" ? { text: d } : d);
	}
}

/* Wrong arguments. */
class Usage extends Error {}

/* The line that holds the byte at `offset` of a file, and where in it that is. */
function place(bytes, offset, length) {
	const from = bytes.lastIndexOf(10, offset - 1) + 1;
	const end = bytes.indexOf(10, offset);
	const lineText = bytes.toString("utf8", from, end < 0 ? bytes.length : end)
	    .replace(/\r$/, "");
	let line = 1;

	for (let i = bytes.indexOf(10); i >= 0 && i < offset; i = bytes.indexOf(10, i + 1))
		line++;
	const column = bytes.toString("utf8", from, offset).length + 1;
	return {
		line,
		column,
		length: Math.max(1, Math.min(length || 1, lineText.length - column + 1)),
		lineText,
	};
}

/* The same for an offset in characters. */
function placeInText(text, offset, length) {
	return place(Buffer.from(text), Buffer.byteLength(text.slice(0, offset)), length);
}

/* Text of a stranger's file goes to a terminal. */
function printable(text) {
	return text.replace(/[\x00-\x08\x0a-\x1f\x7f-\x9f]/g, "\ufffd");
}

function where(d) {
	if (!d.file)
		return "";
	return [d.file, d.line, d.line && d.column].filter(Boolean).join(":") + ": ";
}

/* The line, and marks under the place; long lines are cut around it. */
function excerpt(d) {
	if (d.lineText === undefined || !d.line)
		return "";
	let text = d.lineText, at = (d.column || 1) - 1;

	if (text.length > LINE_MAX) {
		const from = Math.max(0, Math.min(at - 40, text.length - LINE_MAX));
		text = text.slice(from, from + LINE_MAX);
		at -= from;
	}
	const number = String(d.line).padStart(5);
	if (!d.column)
		return `${number} | ${printable(text)}\n`;
	const indent = text.slice(0, at).replace(/[^\t]/g, " ");
	const more = Math.min((d.length || 1) - 1, text.length - at - 1);
	const marks = "^" + "~".repeat(Math.max(0, more));

	return `${number} | ${printable(text)}\n      | ${indent}${marks}\n`;
}

function formatOne(d, kind) {
	let out = `${where(d)}${kind}: ${printable(d.text)}\n${excerpt(d)}`;

	for (const note of d.notes || [])
		out += `      ${where(note)}note: ${printable(note.text)}\n`;
	return out;
}

/* For people: several lines each. */
function format(diagnostics, kind = "error") {
	let out = diagnostics.slice(0, SHOWN_MAX).map((d) => formatOne(d, kind)).join("");

	if (diagnostics.length > SHOWN_MAX)
		out += `and ${diagnostics.length - SHOWN_MAX} more\n`;
	return out;
}

/* For a log: the first one and how many more there are, in one line. */
function summary(diagnostics) {
	const [d] = diagnostics;
	const hint = d.notes && d.notes.length > 0 ? ` (${d.notes[0].text})` : "";
	const more = diagnostics.length > 1 ? ` (and ${diagnostics.length - 1} more)` : "";

	return printable(`${where(d)}${d.text}${hint}${more}`);
}

/*
 * An error as its command shows it; null: it is a bug of ours.  What the environment
 * does (a missing file, a full disk) takes one line.
 */
function explain(e) {
	if (e instanceof Failure)
		return format(e.diagnostics);
	if (!e.code || !e.syscall)
		return null;
	const what = [e.path, e.dest].filter(Boolean).join(" -> ");
	const why = e.message.replace(/, .*$/s, "");

	return `tana: ${printable(`${what ? `${what}: ` : ""}${why}`)}\n`;
}

module.exports = { Failure, Usage, place, placeInText, printable, format, explain, summary };
