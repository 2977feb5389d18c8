/*
 * Telling a running server, through tana-ctl.
 */
"use strict";

const { spawnSync } = require("child_process");

const { Failure } = require("./messages");

const program = process.env.TANA_CTL || "tana-ctl";

/* Have the server load what the contract now is; null, or why it has not. */
function tryReload(socket, id) {
	const r = spawnSync(program, ["-s", socket, "reload", id], {
		stdio: ["ignore", "ignore", "pipe"],
		encoding: "utf8",
	});

	if (r.error)
		return r.error.message;
	return r.status === 0 ? null : r.stderr.trim() || `${program} ended with ${r.status}`;
}

function reload(socket, id) {
	const why = tryReload(socket, id);

	if (why !== null)
		throw new Failure(`${id}: deployed, but the server was not told: ${why}`);
}

module.exports = { tryReload, reload };
