// The form that Cloudflare Workers, Deno and Bun know: a default export with a
// fetch function.  It gets every method; the URL's path is the one below the contract.
const notes = new Map<string, string>([["1", "the first note"]]);

export default {
	async fetch(request: Request): Promise<Response> {
		const { pathname } = new URL(request.url);
		const [, collection, id] = pathname.split("/");

		if (collection !== "notes")
			return new Response("not found\n", { status: 404 });
		switch (request.method) {
		case "GET": {
			const note = id === undefined ? [...notes.keys()] : notes.get(id);

			return note === undefined ? new Response(null, { status: 404 }) : Response.json(note);
		}
		case "PUT":
			// For this request only: the next one starts from the same heap as this one.
			notes.set(id, await request.text());
			return Response.json([...notes], { status: 201, headers: { Location: `/notes/${id}` } });
		default:
			return new Response(null, { status: 405, headers: { Allow: "GET, PUT" } });
		}
	},
};
