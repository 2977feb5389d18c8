/*
 * TypeScript and modern JavaScript to what Duktape understands:
 * esbuild (types, modules, packages; ES2020) -> __proto__ -> SWC (ES5).
 *
 * Nothing is minified: Duktape's stacks know lines only.
 */
"use strict";

const fs = require("fs");
const { isBuiltin } = require("module");
const path = require("path");

const { Boundary, Refused } = require("./boundary");
const { Failure } = require("./messages");
const limits = require("./limits");
const modules = require("./modules");
const proto = require("./proto");

/* npm's own convention wants the directory to be called node_modules. */
const packages = process.env.TANA_NODE_MODULES || path.join(__dirname, "node_modules");

const LOADERS = {
	".ts": "ts", ".mts": "ts", ".cts": "ts", ".tsx": "tsx",
	".js": "js", ".mjs": "js", ".cjs": "js", ".jsx": "jsx",
	".json": "json", ".txt": "text",
};

const KNOWN = Object.keys(LOADERS).join(" ");

/* What esbuild is to write otherwise than ES2020 has it. */
const UNSUPPORTED = Object.fromEntries([
	/* As new RegExp(...): the runtime's RegExp decides, where the code runs. */
	"regexp-dot-all-flag", "regexp-lookbehind-assertions", "regexp-match-indices",
	"regexp-named-capture-groups", "regexp-set-notation", "regexp-sticky-and-unicode-flags",
	"regexp-unicode-property-escapes",
	"bigint",
	"dynamic-import",	/* require() in a promise: there is one file */
].map((feature) => [feature, false]));

const TOP_LEVEL_AWAIT = /^Top-level await is /;
const UNRESOLVED = /^Could not resolve "([^"]*)"/;

let tools = null;

/* The errors at the bottom of one that has causes. */
function reasons(e) {
	const causes = [e.cause, e.errors].flat().filter((c) => c instanceof Error);

	return causes.length > 0 ? causes.flatMap(reasons) : [e];
}

function loadPackage(name) {
	try {
		return require(path.join(packages, name));
	} catch (e) {
		/* SWC tries several ways; of a file that is not there we need not hear first. */
		const all = reasons(e);
		const why = all.find((r) => r.code !== "MODULE_NOT_FOUND") || all[0];

		throw new Failure(`${name} in ${packages} cannot be loaded: ` +
		    String(why.message).split("\n")[0]);
	}
}

/* Loading them is most of what a small contract costs. */
function load() {
	if (tools === null)
		tools = { esbuild: loadPackage("esbuild"), swc: loadPackage("@swc/core") };
	return tools;
}

/* How a plugin of esbuild's says no. */
function refusal(text) {
	return { errors: [{ text }] };
}

/* Does the text begin with "use strict", comments apart? */
function isStrict(text) {
	return /^(?:\s|\/\/[^\n]*\n|\/\*[^]*?\*\/)*(["'])use strict\1/.test(text);
}

function whereSought(specifier) {
	if (isBuiltin(specifier))
		return "it is a module of Node.js; a contract has no access to the machine";
	if (/^[./]/.test(specifier))
		return "files are looked for in the contract's directory";
	return "packages are looked for in node_modules in the contract's directory";
}

/* The files of one bundle, as esbuild asks for them. */
class Bundle {
	constructor(boundary) {
		this.boundary = boundary;
		this.limits = [];	/* diagnostics */
		this.fault = null;	/* an error of ours */
		this.sloppy = new Set();
		this.sources = new Map();	/* the author's own files: name -> bytes */
	}

	plugin() {
		return {
			name: "tana",
			setup: (build) => {
				build.onResolve({ filter: /^tana(?:[/:]|$)/ },
				    (args) => this.module(args));
				build.onResolve({ filter: /^(?:data|https?):/ }, () =>
				    refusal("only files can be imported"));
				build.onLoad({ filter: /.*/, namespace: "file" }, (args) => {
					try {
						return this.file(args);
					} catch (e) {
						this.fault = e;
						throw e;
					}
				});
			},
		};
	}

	module(args) {
		const { name, known } = modules.parse(args.path);

		if (!known)
			return refusal(modules.unknown(args.path));
		return { path: `tana/${name}`, external: true, sideEffects: false };
	}

	file(args) {
		const name = this.boundary.name(args.path);
		const loader = LOADERS[path.extname(args.path)];
		let bytes;

		if (loader === undefined)
			return refusal(`${name}: only ${KNOWN} can be imported`);
		try {
			bytes = this.boundary.read(args.path);
		} catch (e) {
			if (!(e instanceof Refused))
				throw e;
			return refusal(e.message);
		}
		const own = !name.split(path.sep).includes("node_modules");

		if (own)
			this.sources.set(name, bytes);
		if (loader === "json" || loader === "text")
			return { contents: bytes, loader };
		if (own)
			for (const d of limits.search(load().swc, bytes, loader))
				this.limits.push({ ...d, file: name });
		let text = bytes.toString("utf8");
		if (!isStrict(text))
			this.sloppy.add(name);
		/* esbuild would read the map that this names, wherever it is. */
		if (text.includes("sourceMappingURL"))
			text = text.replaceAll("sourceMappingURL", "sourceMappingGone");
		return { contents: text, loader };
	}

	/* esbuild's words in ours. */
	diagnostic(message) {
		const d = { text: message.text, notes: [] };
		const at = message.location;
		let m;

		if (at !== null) {
			if (this.boundary.leadsInside(at.file)) {
				const line = Buffer.from(at.lineText), end = at.column + at.length;

				d.file = this.boundary.name(at.file);
				d.line = at.line;
				/* Bytes there, characters here. */
				d.column = line.toString("utf8", 0, at.column).length + 1;
				d.length = line.toString("utf8", at.column, end).length;
				d.lineText = at.lineText;
			} else {
				/* Not a word of a file that is none of the contract's. */
				const name = this.boundary.name(at.file);

				return { text: `${name} is outside the contract's directory` };
			}
		}
		if (TOP_LEVEL_AWAIT.test(d.text)) {
			d.text = "await at the top level is not available";
			d.notes.push({ text: "move it into the handler" });
		} else if ((m = UNRESOLVED.exec(d.text)) !== null) {
			d.text = `"${m[1]}" is not found`;
			d.notes.push({ text: whereSought(m[1]) });
		} else {
			for (const { text, location } of message.notes)
				if (location !== null && this.boundary.leadsInside(location.file))
					d.notes.push({
						text,
						file: this.boundary.name(location.file),
						line: location.line,
						column: location.column + 1,
					});
		}
		return d;
	}

	needsSloppy(inputs) {
		for (const [name, input] of Object.entries(inputs))
			if (input.format === "cjs" && this.sloppy.has(name))
				return true;
		return false;
	}
}

/* An unknown module is found twice: by us, also where nothing of it is used, and by esbuild. */
function distinct(diagnostics) {
	const key = (d) => `${d.file}:${d.line}:${d.column}:${d.text}`;
	const seen = new Map(diagnostics.map((d) => [key(d), d]));

	return [...seen.values()];
}

async function bundle(b, entry) {
	const { esbuild } = load();
	let result;

	try {
		result = await esbuild.build({
			absWorkingDir: b.boundary.dir,
			entryPoints: [`./${entry}`],
			outfile: path.join(b.boundary.dir, `${entry}.out.js`),
			write: false,
			bundle: true,
			format: "cjs",
			platform: "browser",
			conditions: ["worker", "module"],
			target: "es2020",
			supported: UNSUPPORTED,
			charset: "ascii",
			define: { "process.env.NODE_ENV": '"production"' },
			/* Also keeps it from reading tsconfig.json files up to the root. */
			tsconfigRaw: "{}",
			sourcemap: "external",
			sourcesContent: false,
			metafile: true,
			logLevel: "silent",
			plugins: [b.plugin()],
		});
	} catch (e) {
		if (b.fault !== null || !Array.isArray(e.errors))
			throw b.fault || e;
		throw new Failure(distinct([...b.limits, ...e.errors.map((m) => b.diagnostic(m))]));
	}
	if (b.limits.length > 0)
		throw new Failure(b.limits);
	return result;
}

/*
 * Lower the file `entry` of a directory.  Answers { code, map, sources, warnings };
 * throws Failure.  `map` (JSON text, only if wanted) leads to the author's lines.
 */
async function lower(dir, entry, { map = false } = {}) {
	const { swc } = load();
	const b = new Bundle(new Boundary(dir));

	if (!fs.existsSync(path.join(dir, entry)))
		throw new Failure({ text: "no such file", file: entry });
	if (!b.boundary.leadsInside(entry))
		throw new Failure({ text: "is outside the contract's directory", file: entry });
	const result = await bundle(b, entry);
	const text = result.outputFiles.find((f) => f.path.endsWith(".js")).text;
	const inner = result.outputFiles.find((f) => f.path.endsWith(".map")).text;
	/* Modules are strict; an old package in the bundle may not bear it. */
	const strict = b.needsSloppy(result.metafile.inputs) ? "" : '"use strict"; ';
	let out;

	try {
		out = swc.transformSync(strict + proto.transform(swc, text), {
			configFile: false,
			swcrc: false,
			isModule: false,
			filename: entry,
			sourceMaps: map,
			inputSourceMap: map ? inner : false,
			jsc: {
				target: "es5",
				parser: { syntax: "ecmascript" },
				externalHelpers: false,
				output: { charset: "ascii" },
			},
		});
	} catch (e) {
		const [why] = String(e.message).split("\n");

		throw new Failure({ text: `cannot be lowered to ES5: ${why}`, file: entry });
	}
	return {
		code: out.code,
		map: map ? JSON.parse(out.map) : null,
		sources: b.sources,
		warnings: result.warnings.filter((w) => w.location !== null &&
		    b.sources.has(b.boundary.name(w.location.file))).map((w) => b.diagnostic(w)),
	};
}

/* Names and versions of what does the work. */
function versions() {
	return {
		esbuild: require(path.join(packages, "esbuild/package.json")).version,
		swc: require(path.join(packages, "@swc/core/package.json")).version,
	};
}

module.exports = { lower, load, versions };
