/*
 * What a contract cannot have, found in the author's own files before anything
 * runs: names, literals and imports that the runtime does not know.
 *
 * Packages in node_modules are not searched: they mention a lot that they do
 * not use.  What they do use when loaded shows when the contract is checked.
 */
"use strict";

const modules = require("./modules");
const { place } = require("./messages");

const BIGINT = "use numbers, or strings for amounts that do not fit into 53 bits";
const COLLECTED = "when something is collected cannot be observed here";
const SHARED = "a request runs alone in its heap; nothing can be shared";
const HOST = "a contract has no access to the machine it runs on";

/* Global names and what to use instead. */
const globals = new Map([
	["WeakRef", COLLECTED],
	["FinalizationRegistry", COLLECTED],
	["SharedArrayBuffer", SHARED],
	["Atomics", SHARED],
	["WebAssembly", "use a JavaScript version of the library"],
	["BigInt", BIGINT],
	["BigInt64Array", BIGINT],
	["BigUint64Array", BIGINT],
	["process", HOST],
	["Deno", HOST],
	["Bun", HOST],
	["__dirname", HOST],
	["__filename", HOST],
	["Buffer", "use Uint8Array with TextEncoder and TextDecoder"],
	["Worker", "a request is one thread of execution"],
	["XMLHttpRequest", "there is no such network access"],
	["localStorage", "what a request leaves behind is gone with its heap"],
	["sessionStorage", "what a request leaves behind is gone with its heap"],
]);

/* Fields of syntax nodes with nothing in them that runs. */
const TYPES = new Set(["typeAnnotation", "typeParams", "typeParameters", "typeArgs",
    "typeArguments", "returnType", "superTypeParams", "implements", "span"]);

/* What esbuild replaces before it could be missed. */
function isNodeEnv(node) {
	return node.type === "MemberExpression" && node.property.value === "NODE_ENV" &&
	    node.object.type === "MemberExpression" && node.object.property.value === "env" &&
	    node.object.object.type === "Identifier" && node.object.object.value === "process";
}

const UNBOUND = 1;		/* SWC's mark for names that nothing declares */

class Search {
	constructor() {
		this.found = [];		/* { name?, text, note, span } */
		this.guarded = new Set();	/* names after typeof: the author knows */
	}

	report(span, text, note, name) {
		this.found.push({ span, text, note, name });
	}

	importFrom(source) {
		if (!source)
			return;
		const ours = modules.parse(source.value);
		if (ours !== null && !ours.known)
			this.report(source.span, modules.unknown(source.value));
	}

	regexp(span, flags) {
		if (flags.includes("v"))
			this.report(span, "the regular expression flag v is not available",
			    "write the set of characters without set operations");
	}

	/* One node; true: its children are of interest. */
	visit(node) {
		switch (node.type) {
		case "TsTypeAliasDeclaration":
		case "TsInterfaceDeclaration":
			return false;
		case "ImportDeclaration":
			if (!node.typeOnly)
				this.importFrom(node.source);
			return false;
		case "ExportAllDeclaration":
		case "ExportNamedDeclaration":
			if (!node.typeOnly)
				this.importFrom(node.source);
			break;
		case "BigIntLiteral":
			this.report(node.span, "BigInt is not available", BIGINT);
			return false;
		case "RegExpLiteral":
			this.regexp(node.span, node.flags);
			return false;
		case "NewExpression":
		case "CallExpression": {
			const [, flags] = (node.arguments || []).map((a) => a.expression);

			if (node.callee.value === "RegExp" && node.callee.ctxt === UNBOUND &&
			    flags && flags.type === "StringLiteral")
				this.regexp(node.span, flags.value);
			break;
		}
		case "UnaryExpression":
			if (node.operator === "typeof" && node.argument.type === "Identifier") {
				this.guarded.add(node.argument.value);
				return false;
			}
			break;
		case "MetaProperty":
			if (node.kind === "import.meta")
				this.report(node.span, "import.meta is not available",
				    "a contract has no address of its own");
			return false;
		case "MemberExpression":
			if (isNodeEnv(node))
				return false;
			break;
		case "Identifier":
			if (node.ctxt === UNBOUND && globals.has(node.value))
				this.report(node.span, `${node.value} is not available`,
				    globals.get(node.value), node.value);
			break;
		}
		return !node.declare;
	}

	/* Without recursion: machines write expressions deeper than our stack. */
	run(program) {
		const todo = [program];

		for (let node = todo.pop(); node !== undefined; node = todo.pop()) {
			if (node.type !== undefined && !this.visit(node))
				continue;
			for (const key in node) {
				const child = node[key];

				if (child !== null && typeof child === "object" && !TYPES.has(key))
					todo.push(child);
			}
		}
		this.found.sort((a, b) => a.span.start - b.span.start);
	}
}

/* Diagnostics without a file name; text that is no JavaScript has none. */
function search(swc, bytes, loader) {
	const syntax = loader.startsWith("ts") ?
	    { syntax: "typescript", tsx: loader === "tsx", decorators: true } :
	    { syntax: "ecmascript", jsx: true, decorators: true };
	const text = bytes.toString("utf8");
	let program;

	try {
		program = swc.parseSync(text, { ...syntax, target: "es2022" });
	} catch {
		return [];	/* esbuild will say it better */
	}
	const s = new Search();
	/* A byte order mark is not part of what SWC counts. */
	const start = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0;

	s.run(program);
	return s.found.filter((f) => !s.guarded.has(f.name)).map((f) => ({
		...place(bytes, f.span.start - 1 + start, f.span.end - f.span.start),
		text: f.text,
		notes: f.note ? [{ text: f.note }] : [],
	}));
}

module.exports = { search };
