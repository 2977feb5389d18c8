// A number of its own for each name, kept in tana/data.  No two requests get the same
// one: a commit that comes second finds that the number has changed, and its request
// runs again.
import { data } from 'tana/data';
import { Response, type Request } from 'tana/net';

export async function get(req: Request) {
	return Response.json({ count: (await data.get('count:' + req.path)) ?? 0 });
}

export async function post(req: Request) {
	const key = 'count:' + req.path;
	const count: number = ((await data.get(key)) ?? 0) + 1;

	await data.set(key, count);
	await data.commit();
	return Response.json({ count });
}
