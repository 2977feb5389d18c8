// A contract that throws: the client gets 500 and an error without details, the
// log has the message and the stack, and the worker goes on with the next request.
import { Request } from "tana/net";

class Refused extends Error {
	override name = "Refused";
}

export async function Get(req: Request): Promise<never> {
	if (req.query.sync === undefined)
		await Promise.resolve();
	throw new Refused(req.query.message ?? "this contract always throws");
}
