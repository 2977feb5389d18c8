// One file for several methods: get and post, in lower case.  A single file like
// this one can be deployed by its name:  tana deploy contract.ts --id greet
import { Request, Response } from "tana/net";

type Language = "en" | "de" | "fr";

const greetings: Record<Language, string> = { en: "Hello", de: "Hallo", fr: "Bonjour" };

function isLanguage(text: string): text is Language {
	return Object.keys(greetings).includes(text);
}

function greet(name: string, language: string): string {
	return `${greetings[isLanguage(language) ? language : "en"]}, ${name}!`;
}

export function get(req: Request): Response {
	return Response.text(greet(req.query.name ?? "world", req.query.language ?? "en"));
}

// The body is the client's: look before you use it.
export function post(req: Request, body: { name?: unknown; language?: unknown } | null): Response {
	const { name, language = "en" } = body ?? {};

	if (typeof name !== "string" || typeof language !== "string")
		return Response.json({ error: "name and language must be strings" }, 400);
	return Response.json({ greeting: greet(name, language) }, 201);
}
