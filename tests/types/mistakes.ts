// Each marked line is a mistake that TypeScript must report.
import { console, version } from "tana/core";
import { Request, Response } from "tana/net";
import { data } from "tana/data";
import { kv } from "tana/kv";
import { block } from "tana/block";
import { tx } from "tana/tx";
import { fetch } from "tana/utils";
import { context } from "tana/context";
// @ts-expect-error: no such module
import { nothing } from "tana/nonsense";
// @ts-expect-error: no such module
import { file } from "tana:file";
// @ts-expect-error: no such export
import { log } from "tana/core";
import net from "tana/net";
// @ts-expect-error: not Node
import fs from "fs";

// @ts-expect-error: no default export
net.Response;
// @ts-expect-error: names a machine that contracts do not see
process.exit(0);
// @ts-expect-error: nor Deno's
Deno.cwd();
// @ts-expect-error: nor require
require("fs");
// @ts-expect-error: nor a browser's
document.title = "";
// @ts-expect-error: fetch is imported from tana/utils
globalThis.fetch("https://tana.dev/");
// @ts-expect-error: no Buffer
Buffer.from("");
// @ts-expect-error: no BigInt
const big = 1n;
// @ts-expect-error: no BigInt by name
BigInt(1);
// @ts-expect-error: nothing is collected observably
new WeakRef({});
// @ts-expect-error: nothing is shared
new SharedArrayBuffer(1);
// @ts-expect-error: no such flag of regular expressions
/a/v.test("a");

// @ts-expect-error: one level of console there is not
console.table([]);
// @ts-expect-error: read-only
version.tana = "2";
// @ts-expect-error: status in the wrong place
Response.json({}, "200");
// @ts-expect-error: init instead of headers is no status
new Response("body", 200);
// @ts-expect-error: this form begins with a number
new Response("200", "body", {});
// @ts-expect-error: not a status that redirects
Response.redirect("/", 200);

export function get(req: Request) {
	// @ts-expect-error: may be missing
	const name: string = req.query.name;
	// @ts-expect-error: a method of the body's, not a property
	req.json.length.toFixed().missing;
	// @ts-expect-error: unknown until it is looked at
	req.body.field;
	// @ts-expect-error: no such property
	req.cookies;
	return name;
}

export async function post() {
	// @ts-expect-error: a promise
	(await data.get("a")) + data.get("b").length;
	// @ts-expect-error: keys are text
	await data.set(1, 2);
	// @ts-expect-error: a value is missing
	await data.set("a");
	// @ts-expect-error: a constant
	data.MAX_KEYS = 2;
	// @ts-expect-error: no such type
	await kv.get("a", "stream");
	// @ts-expect-error: values are text or bytes
	await kv.put("a", { b: 1 });
	// @ts-expect-error: may be null
	(await kv.get("a")).length;
	// @ts-expect-error: the currency is missing
	await block.getBalance("ann");
	// @ts-expect-error: one answer for one id
	(await block.getUser("ann"))[0].id;
	// @ts-expect-error: may be null
	block.height.toFixed();
	// @ts-expect-error: amounts are numbers or decimal text
	tx.transfer("a", "b", null, "USD");
	// @ts-expect-error: nothing to wait for before execute
	tx.getChanges().then(() => {});
	// @ts-expect-error: which kind of change decides
	tx.getChanges()[0].from;
	// @ts-expect-error: headers are text
	await fetch("https://tana.dev/", { headers: { a: 1 } });
	// @ts-expect-error: a method
	context.owner.length.missing;
}
void [nothing, file, log, fs, big];
