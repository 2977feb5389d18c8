/*
 * Names of contracts: host labels in lower case (sv_route.c knows the same rule).
 */
"use strict";

const { Failure } = require("./messages");

const ID = /^(?!-)[a-z0-9-]{1,63}(?<!-)$/;

function isIdentifier(id) {
	return ID.test(id);
}

/* `hint`: what to do about it, in parentheses. */
function demandIdentifier(id, hint = "") {
	if (!isIdentifier(id))
		throw new Failure(`"${id}" is no identifier of a contract: ` +
		    `1 to 63 of a-z 0-9 -, no hyphen at either end${hint}`);
	return id;
}

module.exports = { isIdentifier, demandIdentifier };
