/*
 * tana new contract: a directory to begin with, which can be deployed as it is.
 */
"use strict";

const fs = require("fs");
const os = require("os");
const path = require("path");

const { demandIdentifier } = require("./identifier");
const { Failure, Usage } = require("./messages");

const types = path.join(__dirname, "types/tsconfig.json");

const CONTRACT = `// Served as /NAME.  Methods that nothing here is exported for are answered 405.
import { console } from "tana/core";
import { Response, type Request } from "tana/net";

export function get(req: Request): Response {
	const name = req.query.name ?? "world";

	console.log("greeting", name);
	return Response.json({ message: \`Hello, \${name}!\` });
}

// The body is the client's: look before you use it.
export function post(req: Request, body: unknown): Response {
	return Response.json({ received: body }, 201);
}
`;

function userName() {
	try {
		return os.userInfo().username;
	} catch {
		return "";
	}
}

function filesOf(name) {
	const json = (value) => `${JSON.stringify(value, null, "\t")}\n`;

	return {
		"contract.ts": CONTRACT.replace("NAME", name),
		"contract.json": json({
			name,
			version: "0.1.0",
			description: "",
			author: userName(),
			createdAt: new Date().toISOString(),
		}),
		"tsconfig.json": json({ extends: types, include: ["**/*.ts"] }),
	};
}

async function run({ kind, name }) {
	if (kind !== "contract")
		throw new Usage(`new: there is only "new contract", not "${kind}"`);
	demandIdentifier(name);
	try {
		fs.mkdirSync(name);
	} catch (e) {
		if (e.code === "EEXIST")
			throw new Failure({ file: name, text: "exists already" });
		throw e;
	}
	try {
		for (const [file, text] of Object.entries(filesOf(name)))
			fs.writeFileSync(path.join(name, file), text, { flag: "wx" });
	} catch (e) {
		fs.rmSync(name, { recursive: true, force: true });
		if (e.syscall && !e.path)
			e.path = name;
		throw e;
	}
	process.stdout.write(`${name}/contract.ts is there; next:\n` +
	    `\ttana dev ${name}\n\ttana deploy ${name}\n`);
}

module.exports = { run };
