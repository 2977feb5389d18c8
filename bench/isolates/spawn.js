/*
 * A new isolate (isolate.js) that does one thing and ends.
 */
"use strict";

const path = require("path");
const { Worker } = require("worker_threads");

/* What it posts; rejects if it ends without a word. */
function inIsolate(workerData) {
	return new Promise((done, fail) => {
		const isolate = new Worker(path.join(__dirname, "isolate.js"), { workerData });

		isolate.once("message", done);
		isolate.once("error", fail);
		isolate.once("exit", (status) =>
		    fail(new Error(`the isolate ended with ${status} and said nothing`)));
	});
}

module.exports = { inIsolate };
