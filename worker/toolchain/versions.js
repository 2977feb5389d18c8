/*
 * tana versions, rollback, remove: what was deployed.
 */
"use strict";

const cleanup = require("./cleanup");
const { tryReload } = require("./ctl");
const { contractsDirectory } = require("./deploy");
const { demandIdentifier } = require("./identifier");
const { Failure } = require("./messages");
const { Store } = require("./store");

const PREFIX_MIN = 4;

/* The store of a contract that was deployed once. */
function openStore(options) {
	const store = new Store(contractsDirectory(options), demandIdentifier(options.id));

	if (store.occupied())
		throw new Failure({ file: store.link, text: "was not deployed; edit it by hand" });
	if (store.versions().length === 0)
		throw new Failure(`there is no contract ${options.id} in ${store.contracts}`);
	return store;
}

/* Do something while nobody else deploys the contract. */
async function locked(store, fn) {
	const undo = () => store.unlock();
	const done = cleanup.add(undo);

	try {
		await store.lock();
		return fn();
	} finally {
		undo();
		done();
	}
}

function told(options, id, what) {
	const why = options.reload ? tryReload(options.reload, id) : null;

	if (why !== null)
		throw new Failure(`${id}: ${what}, but the server was not told: ${why}`);
}

function time(ms) {
	return new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
}

async function list(options) {
	const store = openStore(options), current = store.current();
	const rows = store.versions().map((version) => ({
		version,
		deployed: time(store.deployed(version)),
		current: version === current,
	}));

	if (options.json) {
		process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`);
		return;
	}
	for (const { version, deployed, current: now } of rows)
		process.stdout.write(`${version.padEnd(18)}  ${deployed}` +
		    `${now ? "  current" : ""}\n`);
}

/* The version that is meant by a name or the beginning of one. */
function choose(store, wanted) {
	const versions = store.versions(), current = store.current();

	if (wanted === undefined) {
		const before = store.history();
		const name = before[before.length - (current === null ? 1 : 2)];

		if (name === undefined)
			throw new Failure(`${store.id}: no version served before ${current}`);
		return name;
	}
	const found = versions.includes(wanted) ? [wanted] :
	    wanted.length < PREFIX_MIN ? [] : versions.filter((v) => v.startsWith(wanted));

	if (found.length === 1)
		return found[0];
	if (found.length > 1)
		throw new Failure(`${store.id}: "${wanted}" begins several versions: ` +
		    found.join(", "));
	throw new Failure(`${store.id}: there is no version "${wanted}"; there are ` +
	    versions.map((v) => v === current ? `${v} (current)` : v).join(", "));
}

async function rollback(options) {
	const store = openStore(options);
	const line = await locked(store, () => {
		const name = choose(store, options.version);

		if (name === store.current())
			return `${store.id}: unchanged, version ${name}`;
		if (!store.intact(name))
			throw new Failure(`${store.id}: version ${name} was changed after it was ` +
			    "deployed; deploy it again from its sources");
		store.goBack(name);
		return `${store.id}: version ${name}`;
	});

	told(options, store.id, "rolled back");
	process.stdout.write(`${line}\n`);
}

async function remove(options) {
	const store = openStore(options);

	await locked(store, () => {
		const keep = options["keep-versions"];

		if (keep && store.current() === null)
			throw new Failure(`${store.id} was removed before; its versions are kept`);
		store.withdraw(keep);
	});
	/* That it knows none of this name is what we want to hear. */
	if (options.reload) {
		const why = tryReload(options.reload, store.id);

		if (why !== null && !/no such contract|not found/i.test(why))
			throw new Failure(`${store.id}: removed, but the server ` +
			    `was not told: ${why}`);
	}
	process.stdout.write(`${store.id}: removed\n`);
}

module.exports = { list, rollback, remove };
