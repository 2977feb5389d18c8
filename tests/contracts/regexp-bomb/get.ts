// A regular expression that takes for ever to say no: (a+)+ can divide the text in
// a billion ways.  It runs inside one built-in function, where no loop of the
// script could be stopped; the deadline must work there too (504).
import { Request } from "tana/net";

export function Get(req: Request): { matches: boolean } {
	const text = "a".repeat(Number(req.query.length ?? "40")) + "!";

	return { matches: /^(a+)+$/.test(text) };
}
