/*
 * server.js PORT NODE_MODULES FILE: answers each HTTP request in a V8 isolate of its
 * own that loads the TypeScript compiler, compiles FILE and runs it.
 */
"use strict";

const fs = require("fs");
const http = require("http");

const { inIsolate } = require("./spawn");

const [port, packages, file] = process.argv.slice(2);

async function answer(request) {
	const { searchParams } = new URL(request.url, "http://localhost");

	return inIsolate({
		packages, file,
		text: fs.readFileSync(file, "utf8"),
		request: { query: Object.fromEntries(searchParams) },
	});
}

http.createServer(async (request, response) => {
	let said;

	try {
		said = await answer(request);
	} catch (e) {
		said = { error: e.message };
	}
	response.writeHead(said.error === undefined ? 200 : 500,
	    { "content-type": "application/json" });
	response.end(said.error === undefined ? said.answer : JSON.stringify(said));
}).listen(Number(port), "127.0.0.1");
