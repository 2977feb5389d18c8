// Modern TypeScript on an old engine: async functions, classes with private
// fields and accessors, generators, async generators, for await, destructuring,
// spread, default values, optional chaining, template strings.
import { Request } from "tana/net";
import { Stock, type Item } from "./stock";

async function* priced(items: Iterable<Item>, rate: number): AsyncGenerator<Item & { total: number }> {
	for (const item of items)
		yield { ...item, total: await Promise.resolve(item.price * item.count * rate) };
}

export async function Get({ query }: Request) {
	const { rate = "1", ...others } = query;
	const stock = new Stock("shelf");

	stock.add({ name: "apple", price: 2, count: 3 }, { name: "pear", price: 3, count: 1 });
	const lines: string[] = [];
	let sum = 0;

	for await (const { name, total } of priced(stock, Number(rate))) {
		lines.push(`${name}: ${total}`);
		sum += total;
	}
	const [first, ...rest] = lines;
	const failure = await stock.take("plum").catch((e: Error) => `${e.name}: ${e.message}`);

	return { label: stock.label, first, rest, sum, failure, others, last: stock.find("pear")?.count ?? null };
}
