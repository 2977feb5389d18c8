/*
 * A tana-edge of our own, in a temporary directory, for one contract: what run and
 * dev ask.  It ends with us, also if we are killed, and its directory is removed.
 */
"use strict";

const { spawn } = require("child_process");
const fs = require("fs");
const net = require("net");
const os = require("os");
const path = require("path");
const { createInterface } = require("readline");

const cleanup = require("./cleanup");
const { Failure, printable } = require("./messages");

const program = process.env.TANA_EDGE || "tana-edge";
const START_MS = 60_000;
const STOP_MS = 15_000;		/* for what is in progress */
const TURN_MS = 20;
const SAID_MAX = 20;		/* lines kept of why it does not start */
const SOCKET_PATH_MAX = 107;

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

function hasProgram(name) {
	return (process.env.PATH || "").split(":").some((dir) => {
		try {
			fs.accessSync(path.join(dir, name), fs.constants.X_OK);
			return true;
		} catch {
			return false;
		}
	});
}

/* Does somebody listen on this socket? */
function answers(socket) {
	return new Promise((done) => {
		const c = net.connect(socket);

		c.on("connect", () => { c.destroy(); done(true); });
		c.on("error", () => done(false));
	});
}

class PrivateServer {
	/* `onRecord` gets each record of its log as an object. */
	constructor(onRecord) {
		this.onRecord = onRecord;
		this.child = null;
		this.ended = null;	/* a promise, once it was started */
		this.running = false;
		this.stopping = null;
		this.said = [];
		this.dir = fs.mkdtempSync(path.join(os.tmpdir(), "tana-"));
		this.forget = cleanup.add(() => this.stop());
		/* Started by root it has users of its own, who have to come through. */
		if (process.getuid() === 0)
			fs.chmodSync(this.dir, 0o711);
		this.contracts = path.join(this.dir, "contracts");
		this.socket = path.join(this.dir, "http");
		this.control = path.join(this.dir, "run/control.sock");
		fs.mkdirSync(this.contracts);
		fs.mkdirSync(path.join(this.dir, "state"));
		fs.chmodSync(this.contracts, 0o755);
		if (Buffer.byteLength(this.control) > SOCKET_PATH_MAX)
			throw new Failure({ file: os.tmpdir(),
				text: "its name is too long for a socket below it (TMPDIR)" });
	}

	/* Wait until it serves; `listen` is where besides our socket. */
	async start({ listen = [], options = {} } = {}) {
		const all = {
			contracts: this.contracts,
			run_dir: path.join(this.dir, "run"),
			state_dir: path.join(this.dir, "state"),
			workers_min: 1,
			sandbox: "available",
			skip_transpile: "on",
			drain_timeout_ms: 500,
			log: "stderr",
			log_format: "json",
			...options,
		};
		const args = [...Object.entries(all), ["listen", `unix:${this.socket}`],
			...listen.map((where) => ["listen", where])];
		const command = [program,
			...args.flatMap(([name, value]) => ["-o", `${name}=${value}`])];

		/* Whoever kills us outright ends it as well. */
		if (hasProgram("setpriv"))
			command.unshift("setpriv", "--pdeathsig", "TERM", "--");

		/* A session of its own: a terminal's signals are for us, and we end it in order. */
		this.child = spawn(command[0], command.slice(1),
		    { stdio: ["ignore", "ignore", "pipe"], detached: true });
		this.running = true;
		createInterface({ input: this.child.stderr }).on("line", (line) => this.take(line));
		this.ended = new Promise((done) => {
			this.child.on("error", (e) => { this.said.push(e.message); done(); });
			this.child.on("close", done);
		}).then(() => { this.running = false; });
		for (const end = Date.now() + START_MS; !await answers(this.socket);) {
			if (!this.running || Date.now() > end)
				throw new Failure("tana-edge does not start: " +
				    (this.said.join("; ") || "it says nothing"));
			await sleep(TURN_MS);
		}
		this.said = null;
	}

	take(line) {
		let record;

		try {
			record = JSON.parse(line);
		} catch {
			record = { level: "error", event: line };
		}
		if (this.said !== null && record.level === "error" && this.said.length < SAID_MAX)
			this.said.push(printable(record.event));
		if (this.said === null)
			this.onRecord(record);
	}

	/* Also if it is asked twice: by us, and by a signal meanwhile. */
	stop() {
		this.stopping ??= this.end();
		return this.stopping;
	}

	async end() {
		if (this.child !== null && this.running) {
			const late = setTimeout(() => this.child.kill("SIGKILL"), STOP_MS);

			this.child.kill("SIGTERM");
			await this.ended;
			clearTimeout(late);
		}
		fs.rmSync(this.dir, { recursive: true, force: true });
		this.forget();
	}
}

/* What a record tells the author; null: nothing that he needs. */
function tell(record) {
	switch (record.event) {
	case "console":
		return `${record.level}: ${record.text}`;
	case "request failed":
		return `${record.fault}: ${record.message}`;
	case "contract not loaded":
		return `error: ${record.message}`;
	case "request":
		return `${record.method} ${record.path} ${record.status} ${record.duration} ms`;
	}
	if (record.level !== "error")
		return null;
	return `tana-edge: ${record.event}`;
}

/* Text of a contract goes to a terminal; its line breaks may stay. */
function showRecord(record) {
	const text = tell(record);

	if (text !== null)
		process.stderr.write(`${String(text).split("\n").map(printable).join("\n")}\n`);
}

module.exports = { PrivateServer, showRecord };
