/*
 * From an author's files to a version that is staged and known to load: what
 * deploy, run and dev have in common.
 */
"use strict";

const fs = require("fs");
const path = require("path");

const { Failure, printable } = require("./messages");
const { lineTable } = require("./lines");
const { lowerAll, metadata, shown } = require("./source");
const probe = require("./probe");
const { likelyColumn, originalPlace, tracedText } = require("./sourcemap");
const worker = require("./worker");

const STACK_SHOWN = 10;
const UNTELLING = ["contract", "get", "post", "index"];

/* The directory's name; for a file its own, unless that says only what is in it. */
function defaultId(source) {
	if (!source.single)
		return path.basename(source.dir);
	const stem = source.entries[0].file.replace(/\.[^.]*$/, "");

	return UNTELLING.includes(stem) ? path.basename(source.dir) : stem;
}

/* The part of contract.json that handlers see, as the server passes it on. */
function visible(meta) {
	if (meta === null)
		return null;
	const { author: owner, name, version } = meta.value;

	return { owner, name, version };
}

/* A diagnostic at a place that a source map told. */
function placed(source, built, text, place) {
	/* The map's names are relative to the contract's directory, as those of sources are. */
	const bytes = built.sources.get(place.source);

	return {
		text,
		file: shown(source.dir, place.source),
		line: place.line,
		column: place.column,
		lineText: bytes && bytes.toString("utf8").split(/\r?\n/)[place.line - 1],
	};
}

/* The innermost line of the author's in a stack of Duktape's (which knows no columns). */
function innermost(built, found) {
	/* An error's constructor is not where it was thrown. */
	const frames = [...found.stack.matchAll(/\(([^\s()]+):([0-9]+)\)(?!.* construct)/g)]
	    .map(([, name, line]) => ({ name, line }));

	for (const { name, line } of [{ name: found.file, line: found.line }, ...frames]) {
		const entry = built.find((b) => b.name === name);
		const text = entry && line ? entry.code.split("\n")[line - 1] : undefined;
		const place = text === undefined ? null :
		    originalPlace(entry.map, Number(line), likelyColumn(text));

		if (place)
			return { entry, place: { ...place, column: undefined } };
	}
	return null;
}

/* What tana-worker found, in the author's terms. */
function trouble(source, built, found) {
	const at = innermost(built, found);

	if (at !== null)
		return placed(source, at.entry, found.error, at.place);
	const entry = built.find(({ name }) => name === found.file);

	return { text: found.error, file: shown(source.dir, entry ? entry.file : "") };
}

/* What the runtime lacks of what the author's own files use. */
function missing(source, asked, found) {
	const all = probe.answer(asked, found) || [];

	return all.filter((m) => m.source && m.of.sources.has(m.source))
	    .map((m) => placed(source, m.of, m.text, m))
	    .sort((a, b) => a.file < b.file ? -1 : a.file > b.file ? 1 : a.line - b.line);
}

/* A contract's console, while it is checked. */
function say(what) {
	return (text) => {
		for (const line of text.split("\n"))
			if (line !== "")
				process.stderr.write(`${what}: ${printable(line)}\n`);
	};
}

function capital(name) {
	return name[0].toUpperCase() + name.slice(1);
}

/* Load it, as the server will; answers the names of what it exports. */
function check(source, built, version, asked, onLog) {
	const compiled = [asked.file, ...version.compiled];
	let found = worker.check({ ...version, compiled }, onLog);

	if (!found.ok) {
		const lacks = missing(source, asked, found);

		if (lacks.length > 0)
			throw new Failure(lacks);
		/* Of what a package may never use we say nothing. */
		if (probe.answer(asked, found) !== null)
			found = worker.check(version, onLog);
	}
	if (!found.ok)
		throw new Failure(trouble(source, built, found));
	for (const { stem, file } of built)
		if (stem !== "contract" && !found.exports.includes(stem))
			throw new Failure({
				file: shown(source.dir, file),
				text: `exports neither ${capital(stem)} nor ${stem}`,
			});
	return found.exports;
}

function runInit(version, built) {
	const answer = worker.call(version, "init", say("init"));

	if (!answer.fault && answer.ok !== false)
		return;
	/* What happened, then the stack. */
	const [why, ...stack] = tracedText(answer.message || answer.error, built).split("\n");

	throw new Failure({
		text: `init failed, nothing was changed: ${why}`,
		notes: [...stack.slice(0, STACK_SHOWN).map((line) => ({ text: line.trim() })),
			{ text: "init runs in a heap of its own before the contract serves: " +
			    "without the server's storage, ledger and network" }],
	});
}

/*
 * Lower the source's files, stage them in the store, load them as the server will.
 * Answers { version, exports, built }: `version` is what worker.js takes, until the
 * store has published or abandoned it; `built` has what lower() gave by the
 * compiled file's name.  `quiet`: what the module level writes to its console will be shown by
 * a server.
 */
async function prepare(source, store, { quiet = false } = {}) {
	const meta = source.single ? null : metadata(source.dir);
	const built = await lowerAll(source, { map: true });
	const version = { id: store.id, meta: visible(meta), compiled: [] };
	const sources = new Map(built.flatMap((b) => [...b.sources]));

	store.stage();
	for (const b of built) {
		version.compiled.push({ name: b.name, path: store.write(b.name, b.code) });
		store.write(`${b.name}.map`, JSON.stringify(b.map));
		store.write(`${b.name}.lines`, lineTable(b));
	}
	if (meta !== null)
		store.write("contract.json", meta.text);
	for (const [name, bytes] of sources)
		store.write(path.join("src", name), bytes);
	const asked = probe.make(built);

	asked.file = { name: asked.name, path: store.write(".probe.js", asked.code) };
	const exports = check(source, built, version, asked, quiet ? () => {} : say("check"));
	fs.rmSync(asked.file.path);
	return { version, exports, built: new Map(built.map((b) => [b.name, b])) };
}

/*
 * The one moment in which something changes: what was prepared serves.  init runs if
 * nothing of this contract did before.  The caller unlocks the store.
 */
async function activate(store, { version, exports, built }, { force, keep }) {
	await store.lock();
	const name = store.name(), current = store.current();
	const unchanged = name.known && name.name === current;

	if (!unchanged) {
		if (current === null && exports.includes("init"))
			runInit(version, built);
		store.publish(name, force);
		store.prune(keep);
	}
	return { name: name.name, unchanged };
}

module.exports = { activate, defaultId, prepare };
