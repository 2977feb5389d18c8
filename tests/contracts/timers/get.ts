// Timers and promises: what waits, waits outside of the engine, and the order is
// the one that browsers have.
import { Request } from "tana/net";

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

export async function Get(req: Request) {
	const order: string[] = [];
	const ms = Math.min(Number(req.query.ms ?? "10"), 1000);

	setTimeout(() => order.push("timeout 0"), 0);
	const cancelled = setTimeout(() => order.push("cancelled"), 0);
	queueMicrotask(() => order.push("microtask"));
	Promise.resolve().then(() => order.push("promise"));
	clearTimeout(cancelled);
	order.push("handler");

	let ticks = 0;
	const interval = setInterval(() => order.push(`tick ${++ticks}`), 1);

	await sleep(ms);
	clearInterval(interval);
	return { order: order.filter((what) => !what.startsWith("tick")), ticked: ticks > 0 };
}
