// A module of the contract's own: whatever get.ts imports is bundled with it.
export interface Item {
	name: string;
	price: number;
	count: number;
}

class OutOfStock extends Error {
	override name = "OutOfStock";

	constructor(public readonly item: string) {
		super(`there is no ${item}`);
	}
}

abstract class Named {
	constructor(protected readonly name: string) {}

	abstract get label(): string;
}

export class Stock extends Named implements Iterable<Item> {
	#items = new Map<string, Item>();
	static readonly unit = "pieces";

	get label(): string {
		return `${this.name} of ${this.#items.size} (${Stock.unit})`;
	}

	add(...items: Item[]): this {
		for (const item of items)
			this.#items.set(item.name, item);
		return this;
	}

	find(name: string): Item | undefined {
		return this.#items.get(name);
	}

	async take(name: string): Promise<Item> {
		const item = this.find(name);

		if (item === undefined)
			throw new OutOfStock(name);
		item.count--;
		return item;
	}

	*[Symbol.iterator](): Iterator<Item> {
		yield* this.#items.values();
	}
}
