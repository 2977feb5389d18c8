/*
 * tana dev: serve a contract on a server of our own, and each new state of its files
 * as soon as it compiles.
 */
"use strict";

const fs = require("fs");
const path = require("path");

const { tryReload } = require("./ctl");
const { demandIdentifier } = require("./identifier");
const { Failure, explain } = require("./messages");
const { activate, defaultId, prepare } = require("./prepare");
const { PrivateServer, showRecord } = require("./private");
const { find } = require("./source");
const { Store } = require("./store");

const PORT = 8181;
const TURN_MS = 250;
const WATCHED_MAX = 5000;	/* files; more are not looked at */

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/*
 * What the files below a directory look like, in one text.  Looked for, not waited
 * for: it needs no more than stat(), whatever the editor and the file system do.
 */
function stateOf(dir) {
	const seen = [], todo = [dir];

	while (todo.length > 0 && seen.length < WATCHED_MAX) {
		let entries;
		const at = todo.pop();

		try {
			entries = fs.readdirSync(at, { withFileTypes: true });
		} catch {
			continue;		/* gone just now */
		}
		for (const e of entries) {
			const name = path.join(at, e.name);

			if (e.name.startsWith(".") || e.name === "node_modules")
				continue;
			if (e.isDirectory()) {
				todo.push(name);
				continue;
			}
			const st = fs.lstatSync(name, { bigint: true, throwIfNoEntry: false });

			if (st !== undefined)
				seen.push(`${name}\0${st.ino} ${st.size} ${st.mtimeNs}`);
		}
	}
	return seen.sort().join("\n");
}

/* Compile what is there now and let it serve, or say why not. */
async function build(where, id, server, url) {
	const store = new Store(server.contracts, id);

	try {
		const prepared = await prepare(find(where), store, { quiet: true });
		const { name, unchanged } = await activate(store, prepared, { keep: 1 });
		const why = unchanged ? null : tryReload(server.control, id);

		if (why !== null)
			throw new Failure(`${id}: ${why}`);
		process.stderr.write(`${id}: ${unchanged ? "unchanged, " : ""}version ${name} ` +
		    `(${prepared.exports.join(", ")}) on ${url}\n`);
	} catch (e) {
		const text = explain(e);

		if (text === null)
			throw e;
		process.stderr.write(`${text}${id}: ` + (store.current() === null ?
		    "waiting for a change\n" : "the version before goes on serving\n"));
	} finally {
		store.abandon();
		store.unlock();
	}
}

async function run({ path: where, id: wanted, port = PORT }) {
	const source = find(where);
	const id = demandIdentifier(wanted ?? defaultId(source),
	    wanted === undefined ? " (--id gives another)" : "");
	const server = new PrivateServer(showRecord);
	const url = `http://127.0.0.1:${port}/${id}`;
	let built = null, before;

	try {
		await server.start({ listen: [`127.0.0.1:${port}`] });
		while (server.running) {
			const now = stateOf(source.dir);

			/* Twice the same: nobody is in the middle of writing. */
			if (now !== built && (now === before || built === null)) {
				await build(where, id, server, url);
				built = now;
			}
			before = now;
			await sleep(TURN_MS);
		}
		throw new Failure("tana-edge has ended");
	} finally {
		await server.stop();
	}
}

module.exports = { run };
