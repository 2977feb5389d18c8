/*
 * tana compile: lower a contract, and no more.
 */
"use strict";

const fs = require("fs");
const path = require("path");

const { Failure } = require("./messages");
const { find, lowerAll } = require("./source");

/* Nobody shall find half a file. */
function writeWhole(file, text) {
	const next = path.join(path.dirname(file), `.${path.basename(file)}.${process.pid}.tmp`);

	try {
		fs.writeFileSync(next, text, { flag: "wx" });
		fs.renameSync(next, file);
	} catch (e) {
		fs.rmSync(next, { force: true });
		throw e;
	}
}

function isDirectory(name) {
	return fs.statSync(name, { throwIfNoEntry: false })?.isDirectory() === true;
}

/* The name of what `file` becomes; the author's own JavaScript is never written over. */
function target(source, file, output) {
	const name = `${path.basename(file, path.extname(file))}.js`;
	const to = output === undefined ? path.join(source.dir, name) :
	    source.single && !isDirectory(output) ? output : path.join(output, name);

	if (fs.existsSync(to) && fs.realpathSync(to) === path.join(source.dir, file))
		throw new Failure({
			file: to,
			text: "would be written over; say where to with -o",
		});
	return to;
}

async function run({ path: where, output }) {
	const source = find(where);

	if (output === "-" && source.entries.length > 1)
		throw new Failure("-o - is for one file; this contract has several");
	const to = source.entries.map(({ file }) =>
	    output === "-" ? "-" : target(source, file, output));
	const built = await lowerAll(source);

	if (output !== undefined && output !== "-" && !source.single)
		fs.mkdirSync(output, { recursive: true });
	built.forEach(({ code }, i) => {
		if (to[i] === "-")
			fs.writeFileSync(1, code);
		else
			writeWhole(to[i], code);
	});
}

module.exports = { run };
