/*
 * tana-worker as a tool: the same heap and runtime that the server has, under
 * limits on time and memory.
 */
"use strict";

const { spawnSync } = require("child_process");

const { Failure } = require("./messages");

const OUTPUT_MAX = 32 << 20;

const program = process.env.TANA_WORKER || "tana-worker";

/* What it prints on standard output, parsed. */
function run(args, onLog) {
	const r = spawnSync(program, args, {
		stdio: ["ignore", "pipe", "pipe"],
		maxBuffer: OUTPUT_MAX,
		encoding: "utf8",
		env: { PATH: process.env.PATH, ASAN_OPTIONS: process.env.ASAN_OPTIONS || "" },
	});

	if (r.error)
		throw new Failure(r.error.code === "ENOENT" ?
		    `${program} is not there; without it no contract can be checked` :
		    `${program}: ${r.error.message}`);
	if (r.signal !== null)
		throw new Failure(`the contract killed its worker (${r.signal})`);
	try {
		const answer = JSON.parse(r.stdout);

		onLog(r.stderr);
		return answer;
	} catch {
		throw new Failure(`${program}: ` +
		    (r.stderr.trim() || `it ended with status ${r.status} and said nothing`));
	}
}

function files(version) {
	return version.compiled.map(({ name, path }) => `${name}=${path}`);
}

function options(version) {
	const o = ["--contract", version.id];

	if (version.meta !== null)
		o.push("--meta", JSON.stringify(version.meta));
	return o;
}

/* { ok, exports } or { ok: false, file, line, error }. */
function check(version, onLog) {
	return run(["--check", "--json", ...options(version), ...files(version)], onLog);
}

/* { status, body } or { fault, message }. */
function call(version, name, onLog) {
	return run(["--run", ...options(version), "--function", name, ...files(version)], onLog);
}

module.exports = { check, call };
