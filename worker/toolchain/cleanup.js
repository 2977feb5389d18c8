/*
 * What has to be undone however we end: at the end of a command, or at a signal.
 */
"use strict";

const SIGNALS = [["SIGHUP", 1], ["SIGINT", 2], ["SIGTERM", 15]];

const todo = new Set();
let ready = false;

async function run() {
	for (const fn of [...todo].reverse()) {
		todo.delete(fn);
		try {
			await fn();
		} catch {
			/* The others still have to be done. */
		}
	}
}

/* A signal lets us undo, then ends us; a second one while we do changes nothing. */
function catchSignals() {
	let ending = false;

	for (const [name, number] of SIGNALS)
		process.on(name, async () => {
			if (ending)
				return;
			ending = true;
			await run();
			process.exit(128 + number);
		});
	ready = true;
}

/* Answers a function that takes it back. */
function add(fn) {
	if (!ready)
		catchSignals();
	todo.add(fn);
	return () => todo.delete(fn);
}

module.exports = { add, run };
