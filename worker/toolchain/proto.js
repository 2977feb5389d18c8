/*
 * { __proto__: x } sets the prototype of the new object.  Duktape makes it a
 * property like any other, and so does SWC.  The value is kept, in its place in
 * the order of evaluation, under a key that nobody uses, and a helper makes it
 * the prototype.  Line breaks stay where they are.
 */
"use strict";

const KEY = '"\\0__proto__"';
const HELPER = "function __tana_proto(o) { var k = " + KEY + ", p = o[k]; delete o[k]; " +
    'if (p === null || typeof p === "object" || typeof p === "function") ' +
    "Object.setPrototypeOf(o, p); return o; } ";

function isProto(property) {
	return property.type === "KeyValueProperty" && property.key.value === "__proto__" &&
	    (property.key.type === "Identifier" || property.key.type === "StringLiteral");
}

/* Without recursion: machines write expressions deeper than our stack. */
function collect(program, edits) {
	const todo = [program];

	for (let node = todo.pop(); node !== undefined; node = todo.pop()) {
		const { start, end } = node.span || {};

		if (node.type === "ObjectExpression")
			for (const p of node.properties)
				if (isProto(p))
					edits.push([start, start, "__tana_proto("],
					    [p.key.span.start, p.key.span.end, KEY],
					    [end, end, ")"]);
		for (const key in node) {
			const child = node[key];

			if (child !== null && typeof child === "object" && key !== "span")
				todo.push(child);
		}
	}
}

/* `code` is ASCII: SWC's byte offsets are ours. */
function transform(swc, code) {
	if (!/__proto__["']?\s*:/.test(code))
		return code;
	const edits = [];

	collect(swc.parseSync(code,
	    { syntax: "ecmascript", target: "es2022", isModule: false }), edits);
	if (edits.length === 0)
		return code;
	edits.sort((a, b) => b[0] - a[0] || b[1] - a[1]);
	for (const [start, end, text] of edits)
		code = code.slice(0, start - 1) + text + code.slice(end - 1);
	return HELPER + code;
}

module.exports = { transform };
