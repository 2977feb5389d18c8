/*
 * tana deploy: compile, check, at first run init, then move the server's directory
 * to the new version.  Whatever fails on the way leaves the old version serving.
 */
"use strict";

const path = require("path");

const cleanup = require("./cleanup");
const { reload } = require("./ctl");
const { demandIdentifier } = require("./identifier");
const { Failure, explain } = require("./messages");
const { activate, defaultId, prepare } = require("./prepare");
const { find } = require("./source");
const { Store } = require("./store");

const CONTRACTS = "/var/lib/tana-edge/contracts";

function contractsDirectory(options) {
	return path.resolve(options.contracts || CONTRACTS);
}

/* Everything that needs no lock: a version is staged, and loads. */
async function stage(job, options) {
	const source = find(job.path);

	job.id = options.id === undefined ? defaultId(source) : options.id;
	demandIdentifier(job.id, options.id === undefined ? " (--id gives another)" : "");
	if (job.others.some((other) => other.id === job.id))
		throw new Failure({ text: `${job.id} is deployed from another path already`,
			file: job.path });
	const store = new Store(contractsDirectory(options), job.id);

	if (store.occupied() && !options.force)
		throw new Failure({
			file: store.link,
			text: "exists and was not deployed; --force moves it away",
		});
	job.store = store;
	job.prepared = await prepare(source, store);
}

async function publish({ id, store, prepared }, options) {
	const { name, unchanged } = await activate(store, prepared, options);

	return `${id}: ${unchanged ? "unchanged, " : ""}version ${name} ` +
	    `(${prepared.exports.join(", ")})`;
}

async function run(options) {
	const jobs = options.path.map((name, i, all) => ({ path: name, store: null }));
	const several = jobs.length > 1;
	const undo = () => jobs.forEach(({ store }) => {
		if (store !== null) {
			store.abandon();
			store.unlock();
		}
	});
	let failed = false;

	/* Others shall go on; a bug of ours, or the only one, ends it all. */
	const attempt = async (job, fn) => {
		try {
			await fn(job, options);
			return true;
		} catch (e) {
			const text = explain(e);

			if (!several || text === null)
				throw e;
			process.stderr.write(text);
			process.stdout.write(`${job.id || job.path}: failed, ` +
			    "nothing was changed\n");
			failed = true;
			job.store?.abandon();
			return false;
		} finally {
			job.store?.unlock();
		}
	};

	if (several && options.id !== undefined)
		throw new Failure("--id is for one path");
	cleanup.add(undo);
	try {
		const ready = [];

		for (const job of jobs) {
			job.others = ready;
			if (await attempt(job, stage))
				ready.push(job);
		}
		for (const job of ready)
			await attempt(job, async () => {
				process.stdout.write(`${await publish(job, options)}\n`);
				if (options.reload)
					reload(options.reload, job.id);
			});
	} finally {
		undo();
	}
	return failed ? 1 : 0;
}

module.exports = { run, contractsDirectory };
