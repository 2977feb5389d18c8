/*
 * The work that every JavaScript engine of the benchmark does, as the same text; work.php
 * does the same.  Each server's own file goes on from here.  ES5, and nothing at module
 * level but functions: nginx's njs runs that for each request.
 */

/* What everybody can do. */
function hello() {
	return { message: "Hello, world!" };
}

/* A document of orders (tana_peers.py makes it) parsed, summed up by customer, sorted. */
function json(text) {
	var orders = JSON.parse(text).orders, by = {}, rows = [], i, j, order, row, total, name;

	for (i = 0; i < orders.length; i++) {
		order = orders[i];
		row = by[order.customer] || (by[order.customer] = { customer: order.customer, orders: 0, cents: 0, tags: {} });
		total = 0;
		for (j = 0; j < order.items.length; j++)
			total += order.items[j].count * order.items[j].cents;
		row.orders++;
		row.cents += total;
		for (j = 0; j < order.tags.length; j++)
			row.tags[order.tags[j]] = (row.tags[order.tags[j]] || 0) + 1;
	}
	for (name in by)
		rows.push(by[name]);
	rows.sort(function (a, b) { return b.cents - a.cents || (a.customer < b.customer ? -1 : 1); });
	return { customers: rows };
}

/* Numbers only: what a compiler to machine code is made for.  Points of the Mandelbrot set. */
function compute() {
	var size = 96, most = 60, inside = 0, steps = 0, x, y, i, a, b, re, im, t;

	for (y = 0; y < size; y++)
		for (x = 0; x < size; x++) {
			re = x * 3 / size - 2;
			im = y * 2 / size - 1;
			a = b = 0;
			for (i = 0; i < most && a * a + b * b <= 4; i++) {
				t = a * a - b * b + re;
				b = 2 * a * b + im;
				a = t;
			}
			steps += i;
			if (i === most)
				inside++;
		}
	return { inside: inside, steps: steps };
}

