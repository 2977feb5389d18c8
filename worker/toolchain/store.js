/*
 * The deployed versions of one contract.
 *
 *	CONTRACTS/ID -> .versions/ID/HASH	the version that serves
 *	CONTRACTS/.versions/ID/HASH/		get.js, post.js, contract.js, contract.json, src/
 *	CONTRACTS/.versions/ID/.lock		held while the link is moved
 *
 * A version is complete before it has its name, and never changes afterwards;
 * rename(2) moves the link: who looks sees the old version or the new one.
 */
"use strict";

const { spawn } = require("child_process");
const crypto = require("crypto");
const fs = require("fs");
const path = require("path");

const { Failure } = require("./messages");

const KEPT = 3;			/* versions before the one that serves */
const YOUNG_MS = 60_000;	/* the server may still be reading it */
const STALE_MS = 3600_000;	/* left behind by a deployment that was killed */
const LOCK_SECONDS = 60;
const LOCK_BUSY = 75;		/* flock's exit status then */
const VERSION = /^[0-9a-f]{16}(?:\.[0-9]+)?$/;

function lstat(name) {
	return fs.lstatSync(name, { throwIfNoEntry: false });
}

function remove(directory) {
	fs.rmSync(directory, { recursive: true, force: true });
}

/* Readable for the server whatever the umask; another deployment may make it at the same time. */
function makeDirectory(name) {
	try {
		fs.mkdirSync(name);
	} catch (e) {
		if (e.code === "EEXIST")
			return;
		throw e;
	}
	fs.chmodSync(name, 0o755);
}

function sync(name) {
	const fd = fs.openSync(name, fs.constants.O_RDONLY);

	try {
		fs.fsyncSync(fd);
	} finally {
		fs.closeSync(fd);
	}
}

function sameFiles(a, b) {
	const names = (dir) => fs.readdirSync(dir, { recursive: true }).sort();
	const left = names(a), right = names(b);

	return left.join("\0") === right.join("\0") && left.every((name) => {
		const p = path.join(a, name), q = path.join(b, name);
		const sp = lstat(p), sq = lstat(q);

		if (!sp.isFile() || !sq.isFile())
			return sp.isDirectory() && sq.isDirectory();
		return sp.size === sq.size && fs.readFileSync(p).equals(fs.readFileSync(q));
	});
}

class Store {
	constructor(contracts, id) {
		if (!lstat(contracts))
			throw new Failure({
				file: contracts,
				text: "no such directory (--contracts names another one)",
			});
		this.contracts = contracts;
		this.id = id;
		this.link = path.join(contracts, id);
		this.dir = path.join(contracts, ".versions", id);
		this.staging = null;
		this.lockHolder = null;
		for (const dir of [path.dirname(this.dir), this.dir])
			makeDirectory(dir);
	}

	/* A directory for the files of a version to be. */
	stage() {
		this.staging = fs.mkdtempSync(path.join(this.dir, ".new-"));
		fs.chmodSync(this.staging, 0o755);
		return this.staging;
	}

	write(name, content) {
		const file = path.join(this.staging, name);
		const parts = path.dirname(name).split("/");

		for (let i = 1; name.includes("/") && i <= parts.length; i++)
			makeDirectory(path.join(this.staging, ...parts.slice(0, i)));
		const fd = fs.openSync(file, "wx");

		try {
			fs.writeFileSync(fd, content);
			fs.fchmodSync(fd, 0o644);
			fs.fsyncSync(fd);
		} finally {
			fs.closeSync(fd);
		}
		return file;
	}

	/* Where the link leads: a version's name, or null. */
	current() {
		const st = lstat(this.link);

		if (!st || !st.isSymbolicLink())
			return null;
		const to = fs.readlinkSync(this.link).replace(/\/+$/, "");

		const name = path.basename(to);

		return path.dirname(to) === path.join(".versions", this.id) && VERSION.test(name) ?
		    name : null;
	}

	/* Is there something at ID that no deployment put there? */
	occupied() {
		return lstat(this.link) !== undefined && this.current() === null;
	}

	/* flock(1) holds the lock until its standard input ends, which it does when we do. */
	lock() {
		const holder = spawn("flock", ["--exclusive", "--timeout", String(LOCK_SECONDS),
		    "--conflict-exit-code", String(LOCK_BUSY), path.join(this.dir, ".lock"),
		    "sh", "-c", "echo locked; exec cat >/dev/null"],
		    { stdio: ["pipe", "pipe", "inherit"] });

		this.lockHolder = holder;
		holder.stdin.on("error", () => {});
		return new Promise((done, fail) => {
			const no = (why) => fail(new Failure(why));

			holder.on("error", (e) => no(`flock(1) cannot be run: ${e.message}`));
			holder.on("exit", (status) => no(status === LOCK_BUSY ?
			    `another deployment of ${this.id} is at work, for ${LOCK_SECONDS} s` :
			    `flock(1) ended with status ${status}`));
			holder.stdout.once("data", done);
		});
	}

	unlock() {
		if (this.lockHolder !== null)
			this.lockHolder.stdin.end();
		this.lockHolder = null;
	}

	/* The name for what was staged; `known`: it is there already. */
	name() {
		const hash = crypto.createHash("sha256");

		for (const name of fs.readdirSync(this.staging, { recursive: true }).sort()) {
			const file = path.join(this.staging, name), st = lstat(file);

			if (st.isFile())
				hash.update(`${name}\0${st.size}\0`).update(fs.readFileSync(file));
		}
		const digest = hash.digest("hex").slice(0, 16);

		/* Somebody may have edited a version: then it is another one. */
		for (let i = 0; ; i++) {
			const name = i === 0 ? digest : `${digest}.${i}`;
			const dir = path.join(this.dir, name);

			if (!lstat(dir))
				return { name, known: false };
			if (sameFiles(dir, this.staging))
				return { name, known: true };
		}
	}

	/* Give the staged files their name and move the link; the lock is held. */
	publish({ name, known }, force) {
		const dir = path.join(this.dir, name);
		const now = new Date();
		const next = path.join(this.contracts, `.${this.id}.${process.pid}.tmp`);

		if (known) {
			fs.utimesSync(dir, now, now);	/* its turn begins anew */
			this.abandon();
		} else {
			sync(this.staging);
			fs.renameSync(this.staging, dir);
			this.staging = null;
		}
		sync(this.dir);
		fs.rmSync(next, { force: true });
		fs.symlinkSync(path.join(".versions", this.id, name), next);
		try {
			/* A directory cannot be replaced in one step. */
			if (force && lstat(this.link)?.isDirectory())
				fs.renameSync(this.link,
				    path.join(this.dir, `replaced-${now.getTime()}`));
			fs.renameSync(next, this.link);
		} catch (e) {
			fs.rmSync(next, { force: true });
			throw e;
		}
		sync(this.contracts);
	}

	/* Nothing of what was staged stays. */
	abandon() {
		if (this.staging !== null)
			remove(this.staging);
		this.staging = null;
	}

	/* Drop versions beyond the last few; the lock is held. */
	prune() {
		const now = Date.now(), current = this.current();
		const age = (name) => now - (lstat(path.join(this.dir, name))?.mtimeMs ?? now);
		const all = fs.readdirSync(this.dir);
		const versions = all.filter((name) => VERSION.test(name) && name !== current)
		    .sort((a, b) => age(a) - age(b));

		for (const name of versions.slice(KEPT))
			if (age(name) > YOUNG_MS) {
				/* Not half a version, ever. */
				const gone = path.join(this.dir, `.new-gone-${name}`);

				remove(gone);
				fs.renameSync(path.join(this.dir, name), gone);
				remove(gone);
			}
		for (const name of all)
			if (name.startsWith(".new-") && age(name) > STALE_MS)
				remove(path.join(this.dir, name));
	}
}

module.exports = { Store };
