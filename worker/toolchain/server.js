/*
 * tana compile-server: the compiler that tana-edge keeps at hand.
 *
 * Descriptor 3 is a stream: 4-byte big-endian length, then JSON, both ways
 * (supervisor/sv_lower.c is the other end).
 *	-> { id, contract, dir, files: ["get.ts", ...] }
 *	<- { id, files: [{ name: "get.js", code, lines }, ...] }
 *	   or { id, error: "FILE:LINE:COLUMN: ..." }
 * What the author did wrong is an answer; what cannot be a request ends us.
 */
"use strict";

const fs = require("fs");
const net = require("net");
const path = require("path");

const { isIdentifier } = require("./identifier");
const { Failure, summary } = require("./messages");
const { lineTable } = require("./lines");
const { load, lower } = require("./lower");

const CHANNEL = 3;
const REQUEST_MAX = 64 << 10;
const ANSWER_MAX = 16 << 20;
const FILES_MAX = 8;

function die(text) {
	process.stderr.write(`tana: compile-server: ${text}\n`);
	process.exit(1);
}

function isRequest(q) {
	return q !== null && typeof q === "object" && Number.isSafeInteger(q.id) &&
	    typeof q.dir === "string" && isIdentifier(q.dir) &&
	    Array.isArray(q.files) && q.files.length > 0 && q.files.length <= FILES_MAX &&
	    q.files.every((f) => typeof f === "string" && /^[a-z]+\.ts$/.test(f));
}

async function answer(contracts, q) {
	const files = [];

	try {
		for (const file of q.files) {
			const built = await lower(path.join(contracts, q.dir), file, { map: true });

			files.push({
				name: file.replace(/ts$/, "js"),
				code: built.code,
				lines: lineTable(built),
			});
		}
		return { id: q.id, files };
	} catch (e) {
		if (e instanceof Failure)
			return { id: q.id, error: summary(e.diagnostics.map((d) =>
			    ({ ...d, file: d.file && `${q.dir}/${d.file}` }))) };
		if (e.code && e.syscall)
			return { id: q.id, error: `${q.dir}: ${e.message}` };
		throw e;
	}
}

function frame(message) {
	let body = Buffer.from(JSON.stringify(message));

	if (body.length > ANSWER_MAX)
		body = Buffer.from(JSON.stringify({
			id: message.id,
			error: `compiled, the contract is larger than ${ANSWER_MAX >> 20} MiB`,
		}));
	const head = Buffer.alloc(4);

	head.writeUInt32BE(body.length);
	return Buffer.concat([head, body]);
}

/* The requests in what comes in. */
async function* requests(channel) {
	let pending = Buffer.alloc(0);

	for await (const chunk of channel) {
		pending = Buffer.concat([pending, chunk]);
		while (pending.length >= 4) {
			const length = pending.readUInt32BE(0);

			if (length > REQUEST_MAX)
				die(`a request of ${length} bytes makes no sense`);
			if (pending.length < 4 + length)
				break;
			const text = pending.toString("utf8", 4, 4 + length);
			pending = pending.subarray(4 + length);
			let q;
			try {
				q = JSON.parse(text);
			} catch {
				die("a request is not JSON");
			}
			if (!isRequest(q))
				die("a request makes no sense");
			yield q;
		}
	}
	if (pending.length > 0)
		die("the last request is not complete");
}

async function run({ contracts }) {
	const st = fs.fstatSync(CHANNEL, { throwIfNoEntry: false });

	if (!st || !st.isSocket())
		die("descriptor 3 is not a socket; tana-edge starts this command");
	load();
	const channel = new net.Socket({ fd: CHANNEL, readable: true, writable: true });

	channel.on("error", (e) => die(e.message));
	try {
		for await (const q of requests(channel)) {
			const reply = frame(await answer(contracts, q));

			await new Promise((done) => channel.write(reply, done));
		}
	} catch (e) {
		die(e.stack);
	}
}

module.exports = { run };
