// The modules of the server, each by two names.

declare module "tana/core" {
	export const console: Console;
	export const version: TanaVersion;
	export default console;
}

declare module "tana/net" {
	export const Request: typeof globalThis.Request;
	export type Request = globalThis.Request;
	export const Response: typeof globalThis.Response;
	export type Response = globalThis.Response;
	export const Headers: typeof globalThis.Headers;
	export type Headers = globalThis.Headers;
	/** Or TypeScript would make one up, as it does for CommonJS. */
	const none: undefined;
	export default none;
}

/** Staged key-value storage of the contract: nothing is kept but by commit(). */
declare module "tana/data" {
	interface Data {
		/** The staged value first; null if there is none. */
		get<T = any>(key: string): Promise<T | null>;
		/** Any value that JSON can hold. */
		set(key: string, value: unknown): Promise<void>;
		delete(key: string): Promise<unknown>;
		has(key: string): Promise<boolean>;
		/** Sorted; `*` in the pattern stands for any text. */
		keys(pattern?: string): Promise<string[]>;
		entries<T = any>(): Promise<[string, T][]>;
		clear(): Promise<void>;
		/** All that was staged or nothing; fails if what was read was changed meanwhile. */
		commit(): Promise<void>;
		/** Bytes. */
		readonly MAX_KEY_SIZE: 256;
		readonly MAX_VALUE_SIZE: 10240;
		readonly MAX_TOTAL_SIZE: 102400;
		readonly MAX_KEYS: 1000;
	}
	export const data: Data;
	export default data;
}

/** Cloudflare Workers KV's interface; private to the contract. */
declare module "tana/kv" {
	type KvType = "text" | "json" | "arrayBuffer";
	interface KvPutOptions {
		metadata?: unknown;
		/** Seconds from now. */
		expirationTtl?: number;
		/** Seconds since 1970. */
		expiration?: number;
	}
	interface KvListed {
		name: string;
		expiration?: number;
		metadata?: any;
	}
	interface KvList {
		keys: KvListed[];
		list_complete: boolean;
		cursor?: string;
	}
	interface KvWith<T> {
		value: T | null;
		metadata: any;
	}
	interface Kv {
		get(key: string, type?: "text" | { type?: "text" }): Promise<string | null>;
		get<T = any>(key: string, type: "json" | { type: "json" }): Promise<T | null>;
		get(key: string,
		    type: "arrayBuffer" | { type: "arrayBuffer" }): Promise<ArrayBuffer | null>;
		getWithMetadata(key: string,
		    type?: "text" | { type?: "text" }): Promise<KvWith<string>>;
		getWithMetadata<T = any>(key: string,
		    type: "json" | { type: "json" }): Promise<KvWith<T>>;
		getWithMetadata(key: string,
		    type: "arrayBuffer" | { type: "arrayBuffer" }): Promise<KvWith<ArrayBuffer>>;
		put(key: string, value: string | ArrayBuffer | ArrayBufferView,
		    options?: KvPutOptions): Promise<void>;
		delete(key: string): Promise<void>;
		/** At most 1000 a page. */
		list(options?: {
			prefix?: string;
			limit?: number;
			cursor?: string;
		}): Promise<KvList>;
	}
	export const kv: Kv;
	export default kv;
}

/** The chain as the handler sees it; null where no block was given. */
declare module "tana/block" {
	interface BlockUser {
		id: string;
		username: string;
		[name: string]: unknown;
	}
	interface BlockTransaction {
		id: string;
		[name: string]: unknown;
	}
	interface Block {
		readonly height: number | null;
		/** ms */
		readonly timestamp: number | null;
		readonly hash: string | null;
		readonly previousHash: string | null;
		readonly executor: string | null;
		readonly contractId: string | null;
		readonly gasLimit: number | null;
		readonly gasUsed: number | null;
		getHeight(): number | null;
		getTimestamp(): number | null;
		getHash(): string | null;
		getPreviousHash(): string | null;
		getExecutor(): string | null;
		getContractId(): string | null;
		getGasLimit(): number | null;
		getGasUsed(): number | null;
		/** 0 if there is none; of several, in their order. */
		getBalance(id: string, currencyCode: string): Promise<number>;
		getBalance(ids: readonly string[], currencyCode: string): Promise<number[]>;
		/** By id or username; null if there is none. */
		getUser(id: string): Promise<BlockUser | null>;
		getUser(ids: readonly string[]): Promise<(BlockUser | null)[]>;
		getTransaction(id: string): Promise<BlockTransaction | null>;
		getTransaction(ids: readonly string[]): Promise<(BlockTransaction | null)[]>;
		/** Ids in one call, at most. */
		readonly MAX_BATCH_QUERY: 10;
	}
	export const block: Block;
	export default block;
}

/** Transactions: staged, then executed together. */
declare module "tana/tx" {
	/** A number, or a decimal string where that is too coarse. */
	type Amount = number | string;
	type TxChange =
		| { type: "transfer"; from: string; to: string; amount: Amount; currency: string }
		| { type: "balance_update"; userId: string; amount: Amount; currency: string };
	interface TxResult {
		success: boolean;
		changes: TxChange[];
		gasUsed: number;
		error: string | null;
	}
	interface Tx {
		transfer(from: string, to: string, amount: Amount, currency: string): void;
		setBalance(userId: string, amount: Amount, currency: string): void;
		getChanges(): TxChange[];
		execute(): Promise<TxResult>;
	}
	export const tx: Tx;
	export default tx;
}

declare module "tana/utils" {
	/** Only to hosts that the server's operator allows. */
	export function fetch(url: string | URL | Request, init?: RequestInit): Promise<Response>;
	const none: undefined;
	export default none;
}

/** In init and contract: who calls, with what. */
declare module "tana/context" {
	interface Context {
		/** null in init. */
		caller(): any;
		owner(): string | null;
		block(): typeof import("tana/block").block;
		/** null in init. */
		input(): any;
	}
	export const context: Context;
	export default context;
}

declare module "tana:core" {
	export * from "tana/core";
	export { default } from "tana/core";
}
declare module "tana:net" {
	export * from "tana/net";
	export { default } from "tana/net";
}
declare module "tana:data" {
	export * from "tana/data";
	export { default } from "tana/data";
}
declare module "tana:kv" {
	export * from "tana/kv";
	export { default } from "tana/kv";
}
declare module "tana:block" {
	export * from "tana/block";
	export { default } from "tana/block";
}
declare module "tana:tx" {
	export * from "tana/tx";
	export { default } from "tana/tx";
}
declare module "tana:utils" {
	export * from "tana/utils";
	export { default } from "tana/utils";
}
declare module "tana:context" {
	export * from "tana/context";
	export { default } from "tana/context";
}
