// What contracts may write; TypeScript must not complain.  (Nothing here is run.)
import log, { console as console1, version } from "tana/core";
import { console as console2 } from "tana:core";
import { Headers as Headers1, Request as Request1, Response as Response1 } from "tana/net";
import { Request as Request2 } from "tana:net";
import { data } from "tana/data";
import data2 from "tana:data";
import { kv } from "tana/kv";
import { kv as kv2 } from "tana:kv";
import { block } from "tana/block";
import { block as block2 } from "tana:block";
import { tx } from "tana/tx";
import { tx as tx2 } from "tana:tx";
import { fetch } from "tana/utils";
import { fetch as fetch2 } from "tana:utils";
import { context } from "tana/context";
import { context as context2 } from "tana:context";

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(_: Same<A, B>): void {}

same<typeof console1, typeof console2>(true);
same<typeof data, typeof data2>(true);
same<typeof kv, typeof kv2>(true);
same<typeof block, typeof block2>(true);
same<typeof tx, typeof tx2>(true);
same<typeof fetch, typeof fetch2>(true);
same<typeof context, typeof context2>(true);
same<Request, Request1>(true);
same<Request1, Request2>(true);
same<Response, Response1>(true);

export function init(): void {
	const owner: string | null = context.owner();

	log.info(owner, context.caller(), context.input(), context.block().height);
	tana.print(`${tana.version.tana} ${version.duktape}`);
}

export async function get(req: Request1): Promise<Response1> {
	const page: string | undefined = req.params.page;
	const { caller, session, contract } = req.tana;
	const url = new URL(req.url, "http://localhost");

	url.searchParams.forEach((value, name) => console1.log(name, value));
	for (const [name, value] of req.headers)
		console.debug(name, value, page ?? "", caller, session, contract.owner);
	setTimeout((n: number, s: string) => console.log(n, s), 5, 1, "x");
	queueMicrotask(() => {});
	const id: number = setInterval(() => {}, 10);
	clearInterval(id);
	const bytes = crypto.getRandomValues(new Uint8Array(16));
	const text: string = new TextDecoder("utf-8", { fatal: true }).decode(new TextEncoder().encode(btoa(atob(""))));
	const controller = new AbortController();
	controller.signal.addEventListener("abort", { handleEvent: (e) => console.log(e.type) }, { once: true });
	const copy: { when: Date } = structuredClone({ when: new Date(performance.now()) });
	switch (req.ip) {
	case "1": return Response1.json({ text, bytes: [...bytes], copy }, 201);
	case "2": return Response1.json([], { status: 200, headers: { a: "b" } });
	case "3": return Response1.text("text", 404);
	case "4": return new Response1(204);
	case "5": return new Response1(200, { any: "object" }, new Headers1([["a", "b"]]));
	case "6": return new Response1("text", { status: 200, headers: new Headers1({ a: "b" }) });
	case "7": return new Response1(new URLSearchParams({ a: "b" }));
	case "8": return Response1.redirect("/elsewhere", 303);
	}
	const answer = await fetch("https://tana.dev/", { method: "POST", body: "x", signal: AbortSignal.timeout(100) });
	const parsed: { a: number } = await answer.clone().json();
	return new Response1(null, { status: parsed.a });
}

export async function post(req: Request, body: { count?: unknown } | null) {
	const whole: unknown = req.body;
	const before = await data.get<{ count: number }>("counter");

	await data.set("counter", { count: (before?.count ?? 0) + 1 });
	if (await data.has("old"))
		await data.delete("old");
	const keys: string[] = await data.keys("a*");
	for (const [key, value] of await data.entries<number>())
		keys.push(`${key}${value + 1}`);
	const limit: number = data.MAX_KEY_SIZE + data.MAX_VALUE_SIZE + data.MAX_TOTAL_SIZE + data.MAX_KEYS;
	await data.commit();
	await data.clear();

	const plain: string | null = await kv.get("a");
	const typed: { a: 1 } | null = await kv.get<{ a: 1 }>("a", { type: "json" });
	const buffer: ArrayBuffer | null = await kv.get("a", "arrayBuffer");
	await kv.put("a", "b", { expirationTtl: 60, metadata: { any: 1 } });
	const { keys: listed, list_complete, cursor } = await kv.list({ prefix: "a", limit: 10 });
	const { value, metadata } = await kv.getWithMetadata("a", "json");
	await kv.delete("a");

	const one: number = await block.getBalance("ann", "USD");
	const several: number[] = await block.getBalance(["ann", "bob"], "USD");
	const user = (await block.getUser("ann"))?.username;
	const transactions = (await block.getTransaction(["1"])).map((t) => t?.id);
	const height = (block.height ?? 0) + (block.getHeight() ?? 0) + block.MAX_BATCH_QUERY;

	tx.transfer("ann", "bob", "0.10", "USD");
	tx.setBalance("ann", 5, "USD");
	for (const change of tx.getChanges())
		console.log(change.type === "transfer" ? change.from : change.userId);
	const { success, gasUsed, error } = await tx.execute();
	return { whole, body, keys, limit, plain, typed, buffer, listed, list_complete, cursor, value, metadata, one, several, user, transactions,
	         height, success, gasUsed, error, grouped: Object.groupBy([1], String), sorted: [2, 1].toSorted().at(-1) };
}

export default {
	async fetch(request: Request, env: unknown, ctx: ExecutionContext): Promise<Response> {
		ctx.waitUntil(Promise.resolve(env));
		return new Response(await request.text());
	},
};
