/*
 * What stands where an author's contract is: which files make it up.
 */
"use strict";

const fs = require("fs");
const path = require("path");

const { Boundary, Refused } = require("./boundary");
const { Failure, format, placeInText } = require("./messages");
const { lower } = require("./lower");

/* The files that a contract's directory may have (sv_contract.c knows the same). */
const STEMS = ["get", "post", "contract"];
const EXTENSIONS = [".ts", ".js"];

/* A diagnostic's file as the user would name it: relative to where he stands. */
function shown(dir, file) {
	const rel = path.relative(process.cwd(), path.join(dir, file));

	return rel.startsWith("../../") ? path.join(dir, file) : rel || ".";
}

function rename(dir, diagnostics) {
	return diagnostics.map((d) => ({
		...d,
		file: d.file && shown(dir, d.file),
		notes: (d.notes || []).map((n) => ({ ...n, file: n.file && shown(dir, n.file) })),
	}));
}

/*
 * { dir, single, entries: [{ stem, file }] }: a directory with some of get, post and
 * contract; or one file, which is a contract whatever its name.
 */
function find(where) {
	const real = fs.realpathSync(where), st = fs.statSync(real);

	if (st.isFile())
		return {
			dir: path.dirname(real),
			single: true,
			entries: [{ stem: "contract", file: path.basename(real) }],
		};
	if (!st.isDirectory())
		throw new Failure({ text: "neither a file nor a directory", file: where });
	const entries = [];

	for (const stem of STEMS) {
		const extension = EXTENSIONS.find((x) => fs.existsSync(path.join(real, stem + x)));

		if (extension !== undefined)
			entries.push({ stem, file: stem + extension });
	}
	if (entries.length === 0)
		throw new Failure({
			file: where,
			text: "has none of get, post, contract (.ts or .js)",
		});
	return { dir: real, single: false, entries };
}

/* lower() with the names of files as the user knows them. */
async function lowerEntry(dir, file, options) {
	try {
		const out = await lower(dir, file, options);

		out.warnings = rename(dir, out.warnings);
		return out;
	} catch (e) {
		if (e instanceof Failure)
			throw new Failure(rename(dir, e.diagnostics));
		throw e;
	}
}

/* All of a contract's files, the compiler's warnings shown; or everything wrong with them. */
async function lowerAll(source, options) {
	const built = [], failures = [];

	for (const { stem, file } of source.entries)
		try {
			const out = await lowerEntry(source.dir, file, options);

			process.stderr.write(format(out.warnings, "warning"));
			built.push({ ...out, stem, file, name: `${stem}.js` });
		} catch (e) {
			if (!(e instanceof Failure))
				throw e;
			failures.push(...e.diagnostics);
		}
	if (failures.length > 0)
		throw new Failure(failures);
	return built;
}

/* contract.json: { text, value }, or null where there is none. */
function metadata(dir) {
	const name = shown(dir, "contract.json");
	let text, value;

	if (!fs.existsSync(path.join(dir, "contract.json")))
		return null;
	try {
		text = new Boundary(dir).read("contract.json").toString("utf8");
	} catch (e) {
		if (e instanceof Refused)
			throw new Failure(e.message);
		throw e;
	}
	try {
		value = JSON.parse(text);
	} catch (e) {
		const at = /at position (\d+)/.exec(e.message);
		const offset = at !== null ? Number(at[1]) : text.trimEnd().length;

		throw new Failure({
			...placeInText(text, Math.min(offset, text.length), 1),
			file: name,
			text: `not JSON: ${e.message.replace(/ (in JSON )?at position .*$/s, "")}`,
		});
	}
	if (value === null || typeof value !== "object" || Array.isArray(value))
		throw new Failure({ file: name, text: "not a JSON object" });
	for (const key of ["name", "version", "description", "author", "createdAt"])
		if (value[key] !== undefined && typeof value[key] !== "string")
			throw new Failure({ file: name, text: `"${key}" is not a string` });
	return { text, value };
}

module.exports = { find, lowerAll, metadata, shown };
