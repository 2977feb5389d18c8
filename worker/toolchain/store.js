/*
 * The deployed versions of one contract.
 *
 *	CONTRACTS/ID -> .versions/ID/HASH	the version that serves
 *	CONTRACTS/.versions/ID/HASH/		get.js, post.js, contract.js, each with its
 *						.map and .lines; contract.json; src/
 *	CONTRACTS/.versions/ID/.history		which served, one a line, the last one last
 *	CONTRACTS/.versions/ID/.lock		held while the link is moved
 *
 * A version is complete before it has its name, and never changes afterwards;
 * rename(2) moves the link: who looks sees the old version or the new one.
 * The server follows no link but one of this form (supervisor/sv_place.c).
 */
"use strict";

const { spawn } = require("child_process");
const crypto = require("crypto");
const fs = require("fs");
const path = require("path");

const { Failure } = require("./messages");

const KEEP = 10;		/* versions, the one that serves among them */
const YOUNG_MS = 60_000;	/* the server may still be reading it */
const STALE_MS = 3600_000;	/* left behind by a deployment that was killed */
const HISTORY_MAX = 200;	/* lines */
const LOCK_SECONDS = 60;
const LOCK_BUSY = 75;		/* flock's exit status then */
const VERSION = /^[0-9a-f]{16}(?:\.[0-9]+)?$/;

function lstat(name) {
	return fs.lstatSync(name, { throwIfNoEntry: false });
}

function remove(directory) {
	fs.rmSync(directory, { recursive: true, force: true });
}

/* What the system says of a descriptor does not name the file. */
function naming(file, fn) {
	try {
		return fn();
	} catch (e) {
		if (e.syscall && !e.path)
			e.path = file;
		throw e;
	}
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
		naming(name, () => fs.fsyncSync(fd));
	} finally {
		fs.closeSync(fd);
	}
}

function writeFile(file, content) {
	const fd = fs.openSync(file, "wx");

	try {
		naming(file, () => {
			fs.writeFileSync(fd, content);
			fs.fchmodSync(fd, 0o644);
			fs.fsyncSync(fd);
		});
	} finally {
		fs.closeSync(fd);
	}
}

function filesOf(dir) {
	return fs.readdirSync(dir, { recursive: true }).sort();
}

/* What a version is named after. */
function digestOf(dir) {
	const hash = crypto.createHash("sha256");

	for (const name of filesOf(dir)) {
		const file = path.join(dir, name), st = lstat(file);

		if (st.isFile())
			hash.update(`${name}\0${st.size}\0`).update(fs.readFileSync(file));
	}
	return hash.digest("hex").slice(0, 16);
}

function sameFiles(a, b) {
	const left = filesOf(a), right = filesOf(b);

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
		if (!fs.statSync(contracts, { throwIfNoEntry: false })?.isDirectory())
			throw new Failure({
				file: contracts,
				text: "no such directory (--contracts names another one)",
			});
		this.contracts = contracts;
		this.id = id;
		this.link = path.join(contracts, id);
		this.dir = path.join(contracts, ".versions", id);
		this.historyFile = path.join(this.dir, ".history");
		this.staging = null;
		this.lockHolder = null;
	}

	/* A directory for the files of a version to be. */
	stage() {
		for (const dir of [path.dirname(this.dir), this.dir])
			makeDirectory(dir);
		this.staging = fs.mkdtempSync(path.join(this.dir, ".new-"));
		fs.chmodSync(this.staging, 0o755);
		return this.staging;
	}

	write(name, content) {
		const file = path.join(this.staging, name);
		const parts = path.dirname(name).split("/");

		for (let i = 1; name.includes("/") && i <= parts.length; i++)
			makeDirectory(path.join(this.staging, ...parts.slice(0, i)));
		writeFile(file, content);
		return file;
	}

	/* Where the link leads: a version's name, or null. */
	current() {
		const st = lstat(this.link);

		if (!st || !st.isSymbolicLink())
			return null;
		const to = fs.readlinkSync(this.link), name = path.basename(to);

		return to === `.versions/${this.id}/${name}` && VERSION.test(name) ? name : null;
	}

	/* Is there something at ID that no deployment put there? */
	occupied() {
		return lstat(this.link) !== undefined && this.current() === null;
	}

	/* The names of all versions, the one that was deployed last first. */
	versions() {
		const all = lstat(this.dir) ? fs.readdirSync(this.dir) : [];

		return all.filter((name) => VERSION.test(name) &&
		    lstat(path.join(this.dir, name))?.isDirectory())
		    .sort((a, b) => this.deployed(b) - this.deployed(a) || (a < b ? -1 : 1));
	}

	/* When that was, in ms. */
	deployed(name) {
		return lstat(path.join(this.dir, name))?.mtimeMs ?? Date.now();
	}

	/*
	 * What served, the present version last.  The link has the last word: it is moved
	 * after the file was written, and somebody may have been killed between.
	 */
	history() {
		const there = this.versions(), current = this.current();
		let names;

		try {
			names = fs.readFileSync(this.historyFile, "utf8").split("\n");
		} catch (e) {
			if (e.code !== "ENOENT")
				throw e;
			names = [...there].reverse();
		}
		names = names.filter((name, i) => there.includes(name) && name !== names[i - 1]);
		if (current === null)
			return names;
		const at = names.lastIndexOf(current);

		return at < 0 ? [...names, current] : names.slice(0, at + 1);
	}

	writeHistory(names) {
		const next = path.join(this.dir, `.new-history-${process.pid}`);

		fs.rmSync(next, { force: true });
		try {
			writeFile(next, names.slice(-HISTORY_MAX).map((n) => `${n}\n`).join(""));
			fs.renameSync(next, this.historyFile);
		} catch (e) {
			fs.rmSync(next, { force: true });
			throw e;
		}
	}

	/* flock(1) holds the lock until its standard input ends, which it does when we do. */
	lock() {
		const holder = spawn("flock", ["--exclusive", "--timeout", String(LOCK_SECONDS),
		    "--conflict-exit-code", String(LOCK_BUSY), path.join(this.dir, ".lock"),
		    "sh", "-c", "echo locked; exec cat >/dev/null"],
		    { stdio: ["pipe", "pipe", "pipe"] });
		let said = "";

		this.lockHolder = holder;
		holder.stdin.on("error", () => {});
		holder.stderr.setEncoding("utf8").on("data", (text) => { said += text; });
		return new Promise((done, fail) => {
			const no = (why) => fail(new Failure(why));

			holder.on("error", (e) => no(`flock(1) cannot be run: ${e.message}`));
			holder.on("close", (status) => no(status === LOCK_BUSY ?
			    `another deployment of ${this.id} is at work, for ${LOCK_SECONDS} s` :
			    said.trim().split("\n")[0] || `flock(1) ended with status ${status}`));
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
		const digest = digestOf(this.staging);

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

	/* Is the version what was deployed under its name? */
	intact(name) {
		return digestOf(path.join(this.dir, name)) === name.slice(0, 16);
	}

	/* Move the link; the lock is held. */
	point(name, force) {
		const next = path.join(this.contracts, `.${this.id}.${process.pid}.tmp`);

		const aside = path.join(this.dir, `replaced-${Date.now()}`);

		fs.rmSync(next, { force: true });
		try {
			fs.symlinkSync(`.versions/${this.id}/${name}`, next);
			/* A directory cannot be replaced in one step. */
			if (force && lstat(this.link)?.isDirectory())
				fs.renameSync(this.link, aside);
			fs.renameSync(next, this.link);
		} catch (e) {
			fs.rmSync(next, { force: true });
			if (lstat(aside) && !lstat(this.link))
				fs.renameSync(aside, this.link);
			throw e;
		}
		sync(this.contracts);
	}

	/* Give the staged files their name and move the link; the lock is held. */
	publish({ name, known }, force) {
		const dir = path.join(this.dir, name);
		const now = new Date();
		const before = this.history();

		if (known) {
			fs.utimesSync(dir, now, now);	/* its turn begins anew */
			this.abandon();
		} else {
			fs.utimesSync(this.staging, now, now);
			sync(this.staging);
			fs.renameSync(this.staging, dir);
			this.staging = null;
		}
		try {
			sync(this.dir);
			this.writeHistory([...before, name]);
			this.point(name, force);
		} catch (e) {
			if (!known && this.current() !== name)
				remove(dir);
			throw e;
		}
	}

	/* Let a version serve again; the lock is held. */
	goBack(name) {
		const before = this.history(), at = before.lastIndexOf(name);

		this.writeHistory(at < 0 ? [...before, name] : before.slice(0, at + 1));
		this.point(name, false);
	}

	/* Let none serve; the lock is held. */
	withdraw(keepVersions) {
		if (this.current() !== null) {
			fs.unlinkSync(this.link);
			sync(this.contracts);
		}
		if (keepVersions)
			return;
		for (const name of this.versions())
			this.drop(name);
		fs.rmSync(this.historyFile, { force: true });
	}

	/* Nothing of what was staged stays. */
	abandon() {
		if (this.staging !== null)
			remove(this.staging);
		this.staging = null;
	}

	/* Not half a version, ever. */
	drop(name) {
		const gone = path.join(this.dir, `.new-gone-${name}`);

		remove(gone);
		fs.renameSync(path.join(this.dir, name), gone);
		remove(gone);
	}

	/*
	 * Drop versions beyond the newest `keep`, but not the one that serves, not the one
	 * before it, and none that the server may be reading; the lock is held.
	 */
	prune(keep = KEEP) {
		const now = Date.now(), needed = this.history().slice(-2);

		for (const name of this.versions().slice(keep))
			if (!needed.includes(name) && now - this.deployed(name) > YOUNG_MS)
				this.drop(name);
		for (const name of fs.readdirSync(this.dir))
			if (name.startsWith(".new-") && now - this.deployed(name) > STALE_MS)
				remove(path.join(this.dir, name));
	}
}

module.exports = { Store, KEEP, VERSION };
