// workerd, and `deno serve`: both take a module with a fetch handler.
export default {
	async fetch(request) {
		switch (new URL(request.url).pathname) {
		case "/body":
			return new Response(await request.text(), { headers: { "Content-Type": "text/plain" } });
		case "/json":
			return Response.json(json(await request.text()));
		case "/compute":
			return Response.json(compute());
		default:
			return Response.json(hello());
		}
	}
};
