/*
 * tana - the tool of contract authors.  See tana(1).
 */
"use strict";

const { parseArgs } = require("util");

const { Failure, format } = require("./messages");

const EXIT_OK = 0, EXIT_FAILURE = 1, EXIT_USAGE = 2;

const HELP = `usage: tana compile PATH [-o OUT]
	Lower a contract's directory, or one file, to what the server runs.

       tana deploy PATH [--id ID] [--contracts DIR] [--force] [--reload SOCKET]
	Compile and check a contract, then switch the server's directory to it.

       tana compile-server --contracts DIR
	As tana-edge starts it: descriptor 3 is the socket to it.

       tana version | help
`;

class Usage extends Error {}

const commands = {
	compile: {
		operands: ["PATH"],
		options: { output: { type: "string", short: "o" } },
		run: (o) => require("./compile").run(o),
	},
	deploy: {
		operands: ["PATH"],
		options: {
			id: { type: "string" },
			contracts: { type: "string" },
			force: { type: "boolean" },
			reload: { type: "string" },
		},
		run: (o) => require("./deploy").run(o),
	},
	"compile-server": {
		operands: [],
		options: { contracts: { type: "string" } },
		required: ["contracts"],
		run: (o) => require("./server").run(o),
	},
	version: { operands: [], options: {}, run: version },
	help: { operands: [], options: {}, run: help },
};

function version() {
	const { esbuild, swc } = require("./lower").versions();

	process.stdout.write(`tana ${process.env.TANA_VERSION || "?"} ` +
	    `(esbuild ${esbuild}, SWC ${swc}, Node.js ${process.versions.node})\n`);
}

function help() {
	process.stdout.write(HELP);
}

function parse(name, args) {
	const command = commands[name];
	let parsed;

	try {
		parsed = parseArgs({ args, options: command.options, allowPositionals: true });
	} catch (e) {
		if (!String(e.code).startsWith("ERR_PARSE_ARGS"))
			throw e;
		throw new Usage(e.message.split(/[.\n]/)[0]);
	}
	const { values, positionals } = parsed;

	const [extra] = positionals.slice(command.operands.length);

	if (extra !== undefined)
		throw new Usage(`${name}: one argument too many: ${extra}`);
	command.operands.forEach((operand, i) => {
		if (!positionals[i])
			throw new Usage(`${name}: ${operand} is missing`);
		values[operand.toLowerCase()] = positionals[i];
	});
	for (const option of [...command.required || [], ...Object.keys(values)])
		if (values[option] === undefined || values[option] === "")
			throw new Usage(`${name}: --${option} needs a value`);
	return values;
}

async function main(argv) {
	let [name, ...args] = argv;

	if (name === "--help" || name === "-h")
		name = "help";
	if (name === "--version" || name === "-V")
		name = "version";
	try {
		if (name === undefined)
			throw new Usage("what to do? compile, deploy, version or help");
		if (!Object.hasOwn(commands, name))
			throw new Usage(`unknown command: ${name}`);
		if (args.includes("--help") || args.includes("-h"))
			name = "help", args = [];
		await commands[name].run(parse(name, args));
		return EXIT_OK;
	} catch (e) {
		if (e instanceof Usage) {
			process.stderr.write(`tana: ${e.message}; see tana help\n`);
			return EXIT_USAGE;
		}
		if (e instanceof Failure) {
			process.stderr.write(format(e.diagnostics));
			return EXIT_FAILURE;
		}
		/* The environment: a missing file, a full disk. */
		if (e.code && e.syscall) {
			const what = [e.path, e.dest].filter(Boolean).join(" -> ");

			const why = e.message.replace(/, .*$/s, "");

			process.stderr.write(`tana: ${what ? `${what}: ` : ""}${why}\n`);
			return EXIT_FAILURE;
		}
		process.stderr.write(`tana: ${e.stack}\n` +
		    "This is an error of tana, not of the contract.\n");
		return EXIT_FAILURE;
	}
}

/* The compiler's child would keep us alive. */
main(process.argv.slice(2)).then((status) => process.exit(status));
