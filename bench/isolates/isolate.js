/*
 * One V8 isolate for one request (a worker thread): it loads the TypeScript compiler,
 * compiles a contract and, if there is a request, runs it.  What it was asked for it
 * posts: { code }, { answer }, or { error }.
 */
"use strict";

const { parentPort, workerData } = require("worker_threads");

const { load, transpile } = require("./typescript");

const { packages, text, file, request } = workerData;

function run(code) {
	const module = { exports: {} };
	const require_ = (name) => {
		throw new Error(`no module ${name} here`);
	};

	new Function("exports", "require", "module", code)(module.exports, require_, module);
	return JSON.stringify(module.exports.Get(request));
}

try {
	const code = transpile(load(packages), text, file);

	parentPort.postMessage(request === undefined ? { code } : { answer: run(code) });
} catch (e) {
	parentPort.postMessage({ error: String(e.message) });
}
