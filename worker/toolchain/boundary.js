/*
 * The one way to a contract's files: nothing outside its directory is read,
 * whatever symbolic links say.
 */
"use strict";

const fs = require("fs");
const path = require("path");

const { O_NOCTTY, O_NONBLOCK, O_RDONLY } = fs.constants;

const FILE_MAX = 4 << 20;
const TOTAL_MAX = 64 << 20;

/* Its message is meant for the author. */
class Refused extends Error {}

/* The path of an open file; without /proc its name has to do, if it still is that file. */
function whereIs(fd, st, file) {
	try {
		return fs.readlinkSync(`/proc/self/fd/${fd}`);
	} catch {
		const real = fs.realpathSync(file), now = fs.lstatSync(real);

		if (now.dev !== st.dev || now.ino !== st.ino)
			throw new Refused(`${file} was changed while it was read`);
		return real;
	}
}

class Boundary {
	constructor(dir) {
		this.dir = fs.realpathSync(dir);
		this.total = 0;
	}

	/* Is the path, free of symbolic links, below the directory? */
	holds(real) {
		const rel = path.relative(this.dir, real);

		return rel !== ".." && !rel.startsWith("../") && !path.isAbsolute(rel);
	}

	/* Does the path lead to something below the directory? */
	leadsInside(file) {
		try {
			return this.holds(fs.realpathSync(path.resolve(this.dir, file)));
		} catch {
			return false;
		}
	}

	/* As people call it: relative to the directory. */
	name(file) {
		return path.relative(this.dir, path.resolve(this.dir, file));
	}

	read(file) {
		const name = this.name(file);
		let fd;

		try {
			/* O_NONBLOCK: a fifo must not hold us. */
			fd = fs.openSync(path.resolve(this.dir, file),
			    O_RDONLY | O_NONBLOCK | O_NOCTTY);
		} catch (e) {
			throw new Refused(`${name} cannot be read: ${e.code}`);
		}
		try {
			/* What was opened counts, not what the name led to a moment before. */
			const st = fs.fstatSync(fd);
			if (!this.holds(whereIs(fd, st, path.resolve(this.dir, file))))
				throw new Refused(`${name} is outside the contract's directory`);
			if (!st.isFile())
				throw new Refused(`${name} is not a regular file`);
			if (st.size > FILE_MAX)
				throw new Refused(`${name} is larger than ${FILE_MAX >> 20} MiB`);
			const bytes = fs.readFileSync(fd);
			this.total += bytes.length;
			if (this.total > TOTAL_MAX)
				throw new Refused("the contract's files are larger than " +
				    `${TOTAL_MAX >> 20} MiB together`);
			return bytes;
		} catch (e) {
			if (e instanceof Refused)
				throw e;
			throw new Refused(`${name} cannot be read: ${e.code || e.message}`);
		} finally {
			fs.closeSync(fd);
		}
	}
}

module.exports = { Boundary, Refused };
