// Eats memory until there is none: the heap's limit ends the request (500), no
// other request notices.
import { Request } from "tana/net";

export function Get(req: Request): { kept: number } {
	const kept: string[] = [];
	const most = Number(req.query.mebibytes ?? "4096");

	for (let i = 0; i < most; i++)
		kept.push(String.fromCharCode(97 + (i % 26)).repeat(1 << 20) + i);
	return { kept: kept.length };
}
