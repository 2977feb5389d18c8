// The contract whose worker dies.  No script is known that brings the engine down
// (what comes near it ends as a RangeError, or at the limits of memory and time),
// so this one only stays in progress, for somebody to kill its worker:
//	curl http://127.0.0.1:8180/crash &
//	tana-ctl workers		# the pid of the one that runs crash
//	kill -9 PID
// The client gets 502, and only that client: the worker is replaced.
import { Request } from "tana/net";

export async function Get(req: Request): Promise<{ survived: number }> {
	const ms = Number(req.query.ms ?? "4000");

	await new Promise<void>((resolve) => setTimeout(resolve, ms));
	return { survived: ms };
}
