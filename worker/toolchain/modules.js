/*
 * The modules that a contract may import, by two names each: tana/NAME and
 * tana:NAME.  The runtime has them; the compiler leaves them alone.
 */
"use strict";

const names = ["core", "net", "data", "kv", "block", "tx", "utils", "context"];

/* null: not one of ours; else { name, known }. */
function parse(specifier) {
	const m = /^tana(?:[/:](.*))?$/s.exec(specifier);

	if (m === null)
		return null;
	return { name: m[1] || "", known: names.includes(m[1]) };
}

function unknown(specifier) {
	const known = names.map((name) => `tana/${name}`).join(", ");

	return `there is no module "${specifier}"; there are ${known}`;
}

module.exports = { names, parse, unknown };
