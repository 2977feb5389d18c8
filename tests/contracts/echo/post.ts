// Answers what it was sent.  A JSON body arrives parsed, as the second argument
// and as req.body; anything else arrives as text.  Try:
//	curl -d '{"a":[1,2]}' -H 'Content-Type: application/json' http://127.0.0.1:8180/echo
import { Request, Response } from "tana/net";

interface Echo {
	method: string;
	path: string;
	type: string | null;
	body: unknown;
}

export function Post(req: Request, body: unknown): Response {
	const echo: Echo = {
		method: req.method,
		path: req.path,
		type: req.headers.get("content-type"),
		body,
	};

	return Response.json(echo);
}
