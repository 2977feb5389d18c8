/*
 * tana run: one request to a contract, on a server of our own.
 */
"use strict";

const http = require("http");

const cleanup = require("./cleanup");
const { Failure, Usage } = require("./messages");
const { activate, defaultId, prepare } = require("./prepare");
const { PrivateServer, showRecord } = require("./private");
const { isIdentifier } = require("./identifier");
const { find } = require("./source");
const { Store } = require("./store");

const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

function isJson(text) {
	try {
		JSON.parse(text);
		return true;
	} catch {
		return false;
	}
}

/* What to send, or Usage. */
function requestOf(options, id) {
	const { body, header = [], path = "/" } = options;
	const method = (options.method || (body === undefined ? "GET" : "POST")).toUpperCase();
	const headers = {};

	if (!TOKEN.test(method) || method === "CONNECT")
		throw new Usage(`run: "${options.method}" is no method`);
	for (const text of header) {
		const [, name, value] = /^([^:]*):\s*(.*?)\s*$/s.exec(text) || [];

		if (name === undefined || !TOKEN.test(name) || !VALUE.test(value))
			throw new Usage(`run: a header is NAME: VALUE, not "${text}"`);
		const key = name.toLowerCase();

		headers[key] = headers[key] === undefined ? value : [].concat(headers[key], value);
	}
	if (body !== undefined) {
		headers["content-length"] = Buffer.byteLength(body);
		if (headers["content-type"] === undefined)
			headers["content-type"] = isJson(body) ? "application/json" : "text/plain";
	}
	return {
		method,
		headers,
		path: `/${id}${path.startsWith("/") ? "" : "/"}${path}`
		    .replace(/[^\x21-\x7e]/gu, encodeURIComponent),
	};
}

function ask(socketPath, request, body) {
	return new Promise((done, fail) => {
		const r = http.request({ socketPath, agent: false, ...request }, async (answer) => {
			const chunks = [];

			try {
				for await (const chunk of answer)
					chunks.push(chunk);
				done({ status: answer.statusCode, headers: answer.headers,
					body: Buffer.concat(chunks) });
			} catch (e) {
				fail(e);
			}
		});

		r.on("error", fail);
		r.end(body);
	}).catch((e) => {
		throw new Failure(`no answer: ${e.message}`);
	});
}

function asJson({ status, headers, body }) {
	const text = body.toString("utf8");
	const content = Buffer.from(text).equals(body) ? { body: text } :
	    { bodyBase64: body.toString("base64") };

	return `${JSON.stringify({ status, headers, ...content }, null, 2)}\n`;
}

async function run(options) {
	const source = find(options.operands.path);
	const name = defaultId(source), id = isIdentifier(name) ? name : "contract";
	const request = requestOf(options, id);
	const server = new PrivateServer(showRecord);
	const store = new Store(server.contracts, id);
	let answer;

	try {
		await activate(store, await prepare(source, store, { quiet: true }), {});
		store.unlock();
		await server.start({ options: { log_requests: "off", cors: "off" } });
		answer = await ask(server.socket, request, options.body);
	} finally {
		store.unlock();
		await server.stop();
	}
	await new Promise((done) => process.stdout.write(
	    options.json ? asJson(answer) : answer.body, done));
	return answer.status >= 200 && answer.status < 400 ? 0 : 1;
}

module.exports = { run };
