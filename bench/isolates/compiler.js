/*
 * compiler.js COMPILER NODE_MODULES compile-server --contracts DIR: a compiler for
 * tana-edge's option of that name, in place of the project's own.  COMPILER is
 *	tsc-anew	TypeScript, loaded anew for each contract, into a new V8 isolate
 *	tsc		TypeScript, loaded once
 *	swc		SWC, from TypeScript to ES5 in one step, without esbuild
 * The protocol is that of worker/toolchain/server.js, on descriptor 3.
 */
"use strict";

const fs = require("fs");
const net = require("net");
const path = require("path");

const { inIsolate } = require("./spawn");
const typescript = require("./typescript");

const CHANNEL = 3;

function die(text) {
	process.stderr.write(`bench/isolates/compiler.js: ${text}\n`);
	process.exit(1);
}

/* Each makes a function (text, file) -> code, or a promise of it. */
const COMPILERS = {
	"tsc-anew": (packages) => async (text, file) => {
		const { code, error } = await inIsolate({ packages, text, file });

		if (error !== undefined)
			throw new Error(error);
		return code;
	},
	tsc: (packages) => {
		const ts = typescript.load(packages);

		return (text, file) => typescript.transpile(ts, text, file);
	},
	swc: (packages) => {
		const swc = require(path.join(packages, "@swc/core"));

		return (text, file) => swc.transformSync(text, {
			configFile: false,
			swcrc: false,
			filename: file,
			module: { type: "commonjs" },
			jsc: { target: "es5", parser: { syntax: "typescript" }, externalHelpers: false },
		}).code;
	},
};

async function answer(compile, contracts, { id, dir, files }) {
	const built = [];

	try {
		for (const file of files) {
			const text = fs.readFileSync(path.join(contracts, dir, file), "utf8");

			built.push({ name: file.replace(/ts$/, "js"), code: await compile(text, file) });
		}
		return { id, files: built };
	} catch (e) {
		return { id, error: `${dir}: ${e.message}` };
	}
}

async function* requests(channel) {
	let pending = Buffer.alloc(0);

	for await (const chunk of channel) {
		pending = Buffer.concat([pending, chunk]);
		while (pending.length >= 4 && pending.length >= 4 + pending.readUInt32BE(0)) {
			const end = 4 + pending.readUInt32BE(0);

			yield JSON.parse(pending.toString("utf8", 4, end));
			pending = pending.subarray(end);
		}
	}
}

async function main([name, packages, command, flag, contracts, ...more]) {
	if (!Object.hasOwn(COMPILERS, name) || command !== "compile-server" ||
	    flag !== "--contracts" || contracts === undefined || more.length > 0)
		die("usage: compiler.js COMPILER NODE_MODULES compile-server --contracts DIR");
	const compile = COMPILERS[name](packages);
	const channel = new net.Socket({ fd: CHANNEL, readable: true, writable: true });

	for await (const request of requests(channel)) {
		const body = Buffer.from(JSON.stringify(await answer(compile, contracts, request)));
		const head = Buffer.alloc(4);

		head.writeUInt32BE(body.length);
		await new Promise((done) => channel.write(Buffer.concat([head, body]), done));
	}
}

main(process.argv.slice(2)).catch((e) => die(e.stack));
