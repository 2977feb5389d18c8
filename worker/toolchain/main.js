/*
 * tana - the tool of contract authors.  See tana(1).
 */
"use strict";

const { parseArgs } = require("util");

const cleanup = require("./cleanup");
const { Usage, explain } = require("./messages");

const EXIT_OK = 0, EXIT_FAILURE = 1, EXIT_USAGE = 2;

/* Options that several commands have. */
const CONTRACTS = { type: "string" };
const RELOAD = { type: "string" };

/*
 * operands: NAME must be there, [NAME] may be, NAME... are one or more.
 * options: as parseArgs has them; range: [least, most] of a whole number.
 */
const commands = {
	new: {
		operands: ["KIND", "NAME"],
		usage: "",
		about: "\"tana new contract NAME\" makes a directory to begin with.",
		options: {},
		run: (o) => require("./new").run(o),
	},
	run: {
		operands: ["PATH"],
		usage: "[--method M] [--path P] [--header H]... [--body B] [--json]",
		about: "Ask a contract once, on a server of its own, and print its answer.",
		options: {
			method: { type: "string" },
			path: { type: "string" },
			header: { type: "string", multiple: true },
			body: { type: "string", empty: true },
			json: { type: "boolean" },
		},
		run: (o) => require("./run").run(o),
	},
	dev: {
		operands: ["PATH"],
		usage: "[--port N] [--id ID]",
		about: "Serve a contract on a server of its own, and each change of it.",
		options: { port: { type: "string", range: [1, 65535] }, id: { type: "string" } },
		run: (o) => require("./dev").run(o),
	},
	compile: {
		operands: ["PATH"],
		usage: "[-o OUT]",
		about: "Lower a contract's directory, or one file, to what the server runs.",
		options: { output: { type: "string", short: "o" } },
		run: (o) => require("./compile").run(o),
	},
	deploy: {
		operands: ["PATH..."],
		usage: "[--id ID] [--keep N] [--force] [--contracts DIR] [--reload SOCKET]",
		about: "Compile and check contracts, then switch the server's directory to them.",
		options: {
			id: { type: "string" },
			contracts: CONTRACTS,
			force: { type: "boolean" },
			keep: { type: "string", range: [1, 1000] },
			reload: RELOAD,
		},
		run: (o) => require("./deploy").run(o),
	},
	versions: {
		operands: ["ID"],
		usage: "[--json] [--contracts DIR]",
		about: "List a contract's deployed versions, the newest first.",
		options: { json: { type: "boolean" }, contracts: CONTRACTS },
		run: (o) => require("./versions").list(o),
	},
	rollback: {
		operands: ["ID", "[VERSION]"],
		usage: "[--contracts DIR] [--reload SOCKET]",
		about: "Let the version before the present one serve again, or the named one.",
		options: { contracts: CONTRACTS, reload: RELOAD },
		run: (o) => require("./versions").rollback(o),
	},
	remove: {
		operands: ["ID"],
		usage: "[--keep-versions] [--contracts DIR] [--reload SOCKET]",
		about: "Take a contract away.",
		options: {
			"keep-versions": { type: "boolean" },
			contracts: CONTRACTS,
			reload: RELOAD,
		},
		run: (o) => require("./versions").remove(o),
	},
	"compile-server": {
		operands: [],
		usage: "--contracts DIR",
		about: "As tana-edge starts it: descriptor 3 is the socket to it.",
		options: { contracts: CONTRACTS },
		required: ["contracts"],
		run: (o) => require("./server").run(o),
	},
	version: { operands: [], usage: "", about: "", options: {}, run: version },
	help: { operands: [], usage: "", about: "", options: {}, run: help },
};

function synopsis(name) {
	const { operands, usage } = commands[name];

	return ["tana", name, ...operands, usage].filter(Boolean).join(" ");
}

function version() {
	const { esbuild, swc } = require("./lower").versions();

	process.stdout.write(`tana ${process.env.TANA_VERSION || "?"} ` +
	    `(esbuild ${esbuild}, SWC ${swc}, Node.js ${process.versions.node})\n`);
}

function help() {
	const parts = Object.keys(commands).filter((name) => commands[name].about)
	    .map((name) => `${synopsis(name)}\n\t${commands[name].about}\n`);

	process.stdout.write(`usage: ${parts.join("\n       ")}\n       tana version | help\n` +
	    "tana COMMAND --help tells of one; tana(1) of all.\n");
}

function helpOn(name) {
	if (!commands[name].about)
		return help();
	process.stdout.write(`usage: ${synopsis(name)}\n\t${commands[name].about}\n`);
}

/* Positional arguments by the names that the command gives them. */
function takeOperands(name, operands, given) {
	const values = {};
	let rest = given;

	for (const operand of operands) {
		const [, optional, word, many] = /^(\[?)([A-Z]+)(\.{3})?\]?$/.exec(operand);

		if (many) {
			values[word.toLowerCase()] = rest;
			if (rest.length === 0 || rest.includes(""))
				throw new Usage(`${name}: ${word} is missing`);
			rest = [];
			continue;
		}
		if (rest.length === 0 && optional)
			continue;
		if (!rest[0])
			throw new Usage(`${name}: ${word} is missing`);
		values[word.toLowerCase()] = rest[0];
		rest = rest.slice(1);
	}
	if (rest.length > 0)
		throw new Usage(`${name}: one argument too many: ${rest[0]}`);
	return values;
}

function parse(name, args) {
	const command = commands[name];
	let parsed;

	try {
		parsed = parseArgs({ args, options: command.options, allowPositionals: true });
	} catch (e) {
		if (!String(e.code).startsWith("ERR_PARSE_ARGS"))
			throw e;
		throw new Usage(`${name}: ${e.message.split(/[.\n]/)[0]}`);
	}
	const operands = takeOperands(name, command.operands, parsed.positionals);
	/* An option may have an operand's name. */
	const values = { ...operands, ...parsed.values, operands };

	for (const word of Object.keys(operands))
		if (command.options[word] !== undefined)
			values[word] = parsed.values[word];

	for (const option of [...command.required || [], ...Object.keys(parsed.values)])
		if (values[option] === undefined || values[option] === "" &&
		    !command.options[option].empty)
			throw new Usage(`${name}: --${option} needs a value`);
	for (const [option, { range }] of Object.entries(command.options)) {
		if (!range || values[option] === undefined)
			continue;
		const n = /^[0-9]{1,9}$/.test(values[option]) ? Number(values[option]) : -1;

		if (n < range[0] || n > range[1])
			throw new Usage(`${name}: --${option} is a number from ${range[0]} ` +
			    `to ${range[1]}`);
		values[option] = n;
	}
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
			throw new Usage("what to do?");
		if (!Object.hasOwn(commands, name))
			throw new Usage(`unknown command: ${name}`);
		const end = args.indexOf("--");
		const options = end < 0 ? args : args.slice(0, end);

		if (options.includes("--help") || options.includes("-h")) {
			helpOn(name);
			return EXIT_OK;
		}
		return await commands[name].run(parse(name, args)) ?? EXIT_OK;
	} catch (e) {
		if (e instanceof Usage) {
			process.stderr.write(`tana: ${e.message}; see tana help\n`);
			return EXIT_USAGE;
		}
		process.stderr.write(explain(e) ?? `tana: ${e.stack}\n` +
		    "This is an error of tana, not of the contract.\n");
		return EXIT_FAILURE;
	}
}

/* The compiler's child would keep us alive. */
main(process.argv.slice(2)).then(async (status) => {
	await cleanup.run();
	process.exit(status);
});
