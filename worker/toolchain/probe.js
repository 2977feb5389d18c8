/*
 * What only the runtime can tell: whether it has the global names that a contract
 * uses and understands its regular expressions.  They are collected from the
 * lowered code, put into a script that tana-worker loads before the contract, and
 * its answer is led back to the author's lines.
 */
"use strict";

const { load } = require("./lower");
const { originalPlace } = require("./sourcemap");

const NAME = "probe.js";
const ANSWER_MAX = 20;		/* an error's text is short */

/* The function around every file gives it these. */
const GIVEN = new Set(["require", "module", "exports", "arguments"]);

const UNBOUND = 1;		/* SWC's mark for names that nothing declares */

function isText(node) {
	return node !== undefined && node.expression.type === "StringLiteral";
}

/* new RegExp("...", "..."): what esbuild makes of literals that are not plain. */
function isRegExp(node) {
	const args = node.arguments;

	return node.type === "NewExpression" && node.callee.value === "RegExp" &&
	    node.callee.ctxt === UNBOUND && args && isText(args[0]) &&
	    (args.length === 1 || isText(args[1]));
}

function ascii(json) {
	return json.replace(/[\u007f-\uffff]/g,
	    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/* [{ kind: "name" | "regexp", text, flags?, offset }] */
function questions(code) {
	const found = new Map(), guarded = new Set();
	const todo = [load().swc.parseSync(code,
	    { syntax: "ecmascript", target: "es5", isModule: false })];
	const ask = (key, question) => found.has(key) || found.set(key, question);

	for (let node = todo.pop(); node !== undefined; node = todo.pop()) {
		const offset = node.span ? node.span.start - 1 : 0;

		if (node.type === "UnaryExpression" && node.operator === "typeof" &&
		    node.argument.type === "Identifier")
			guarded.add(node.argument.value);
		if (node.type === "Identifier" && node.ctxt === UNBOUND && !GIVEN.has(node.value))
			ask(`name ${node.value}`, { kind: "name", text: node.value, offset });
		if (isRegExp(node)) {
			const [text, flags = ""] = node.arguments.map((a) => a.expression.value);

			ask(`regexp /${text}/${flags}`, { kind: "regexp", text, flags, offset });
		}
		for (const key in node)
			if (node[key] !== null && typeof node[key] === "object" && key !== "span")
				todo.push(node[key]);
	}
	return [...found.values()].filter((q) => q.kind !== "name" || !guarded.has(q.text));
}

/* { name, code, places }: places[i] tells which file and offset the question i is about. */
function make(built) {
	const all = built.flatMap((b) => questions(b.code).map((q) => ({ ...q, of: b })));
	const list = all.map((q) => q.kind === "name" ? [q.text] : [q.text, q.flags]);
	const code = `var missing = [];
${ascii(JSON.stringify(list))}
.forEach(function (q, i) {
	try {
		if (q.length === 1 ? q[0] in globalThis : new RegExp(q[0], q[1]))
			return;
	} catch (e) {}
	missing.push(i);
});
if (missing.length > 0)
	throw new Error("not in the runtime: " + missing.slice(0, ${ANSWER_MAX}).join());
`;
	return { name: NAME, code, questions: all };
}

/*
 * The diagnostics in what tana-worker answered, files named as in the maps; null: it
 * was about something else.
 */
function answer(probe, found) {
	const m = /^Error: not in the runtime: ([0-9,]+)$/.exec(found.error);

	if (m === null || !found.stack.includes(`(${NAME}:`))
		return null;
	return m[1].split(",").map(Number).map((i) => {
		const q = probe.questions[i];
		const before = q.of.code.slice(0, q.offset).split("\n");
		const place = originalPlace(q.of.map, before.length, before.at(-1).length);

		return {
			of: q.of,
			source: place && place.source,
			line: place && place.line,
			column: place && place.column,
			text: q.kind === "name" ? `${q.text} is not available` :
			    "the runtime does not understand this regular expression",
		};
	});
}

module.exports = { make, answer };
