// The smallest contract: a directory named after the contract, a file named
// after the method.  Try:  curl http://127.0.0.1:8180/hello?name=Ada
import { console } from "tana/core";
import { Request, Response } from "tana/net";

export function Get(req: Request): Response {
	const name = req.query.name ?? "world";

	console.log("greeting", name);
	return Response.json({ message: `Hello, ${name}!` });
}
