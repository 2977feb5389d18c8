// The global names of a contract, besides the language's own.

/** Anything that can be a body; other values become text. */
type BodyInit = string | ArrayBuffer | ArrayBufferView | URLSearchParams;
type BufferSource = ArrayBuffer | ArrayBufferView;
type HeadersInit = Headers | Iterable<readonly [string, string]> | Readonly<Record<string, string>>;

interface Console {
	/** Strings as they are, other values as JSON; one record of the log a call. */
	log(...args: unknown[]): void;
	info(...args: unknown[]): void;
	debug(...args: unknown[]): void;
	warn(...args: unknown[]): void;
	error(...args: unknown[]): void;
	trace(...args: unknown[]): void;
	assert(condition?: unknown, ...args: unknown[]): void;
}
declare var console: Console;

interface TanaVersion {
	readonly tana: string;
	readonly duktape: string;
}
interface Tana {
	print(value: unknown): void;
	readonly version: TanaVersion;
}
declare var tana: Tana;

declare var self: typeof globalThis;

declare function setTimeout<A extends unknown[]>(callback: (...args: A) => void, ms?: number,
    ...args: A): number;
declare function setInterval<A extends unknown[]>(callback: (...args: A) => void, ms?: number,
    ...args: A): number;
declare function clearTimeout(id?: number): void;
declare function clearInterval(id?: number): void;
declare function queueMicrotask(callback: () => void): void;
declare function structuredClone<T>(value: T): T;
declare function atob(text: string): string;
declare function btoa(text: string): string;

interface Performance {
	/** Milliseconds since the request began. */
	now(): number;
	readonly timeOrigin: number;
	toJSON(): { timeOrigin: number };
}
declare var performance: Performance;

interface Crypto {
	getRandomValues<T extends Int8Array | Uint8Array | Uint8ClampedArray | Int16Array |
	    Uint16Array | Int32Array | Uint32Array>(array: T): T;
	randomUUID(): string;
}
declare var crypto: Crypto;

interface TextEncoder {
	readonly encoding: string;
	encode(text?: string): Uint8Array<ArrayBuffer>;
	encodeInto(text: string, bytes: Uint8Array): { read: number; written: number };
}
declare var TextEncoder: { prototype: TextEncoder; new (): TextEncoder };

interface TextDecoder {
	readonly encoding: string;
	readonly fatal: boolean;
	readonly ignoreBOM: boolean;
	decode(bytes?: BufferSource, options?: { stream?: boolean }): string;
}
declare var TextDecoder: {
	prototype: TextDecoder;
	new (label?: string, options?: { fatal?: boolean; ignoreBOM?: boolean }): TextDecoder;
};

interface URLSearchParams extends Iterable<[string, string]> {
	readonly size: number;
	append(name: string, value: string): void;
	delete(name: string, value?: string): void;
	get(name: string): string | null;
	getAll(name: string): string[];
	has(name: string, value?: string): boolean;
	set(name: string, value: string): void;
	sort(): void;
	forEach(callback: (value: string, name: string, parent: URLSearchParams) => void,
	    self?: unknown): void;
	keys(): IterableIterator<string>;
	values(): IterableIterator<string>;
	entries(): IterableIterator<[string, string]>;
	toString(): string;
}
declare var URLSearchParams: {
	prototype: URLSearchParams;
	new (init?: string | URLSearchParams | Iterable<readonly [string, string]> |
	    Readonly<Record<string, string>>): URLSearchParams;
};

interface URL {
	href: string;
	readonly origin: string;
	protocol: string;
	username: string;
	password: string;
	host: string;
	hostname: string;
	port: string;
	pathname: string;
	search: string;
	readonly searchParams: URLSearchParams;
	hash: string;
	toString(): string;
	toJSON(): string;
}
declare var URL: {
	prototype: URL;
	new (url: string | URL, base?: string | URL): URL;
	canParse(url: string | URL, base?: string | URL): boolean;
	parse(url: string | URL, base?: string | URL): URL | null;
};

interface Headers extends Iterable<[string, string]> {
	append(name: string, value: string): void;
	delete(name: string): void;
	get(name: string): string | null;
	getSetCookie(): string[];
	has(name: string): boolean;
	set(name: string, value: string): void;
	forEach(callback: (value: string, name: string, parent: Headers) => void,
	    self?: unknown): void;
	keys(): IterableIterator<string>;
	values(): IterableIterator<string>;
	entries(): IterableIterator<[string, string]>;
}
declare var Headers: { prototype: Headers; new (init?: HeadersInit): Headers };

interface EventInit {
	bubbles?: boolean;
	cancelable?: boolean;
	composed?: boolean;
}
interface Event {
	readonly type: string;
	readonly target: EventTarget | null;
	readonly currentTarget: EventTarget | null;
	readonly bubbles: boolean;
	readonly cancelable: boolean;
	readonly composed: boolean;
	readonly defaultPrevented: boolean;
	readonly eventPhase: number;
	readonly timeStamp: number;
	readonly isTrusted: boolean;
	preventDefault(): void;
	stopPropagation(): void;
	stopImmediatePropagation(): void;
	composedPath(): EventTarget[];
}
declare var Event: { prototype: Event; new (type: string, init?: EventInit): Event };

interface CustomEvent<T = unknown> extends Event {
	readonly detail: T;
}
declare var CustomEvent: {
	prototype: CustomEvent;
	new <T>(type: string, init?: EventInit & { detail?: T }): CustomEvent<T>;
};

type EventListener = ((event: Event) => void) | { handleEvent(event: Event): void };
interface EventTarget {
	addEventListener(type: string, listener: EventListener | null,
	    options?: boolean | { once?: boolean; capture?: boolean; signal?: AbortSignal }): void;
	removeEventListener(type: string, listener: EventListener | null,
	    options?: boolean | { capture?: boolean }): void;
	dispatchEvent(event: Event): boolean;
}
declare var EventTarget: { prototype: EventTarget; new (): EventTarget };

interface AbortSignal extends EventTarget {
	readonly aborted: boolean;
	readonly reason: any;
	onabort: ((this: AbortSignal, event: Event) => void) | null;
	throwIfAborted(): void;
}
declare var AbortSignal: {
	prototype: AbortSignal;
	abort(reason?: unknown): AbortSignal;
	timeout(ms: number): AbortSignal;
	any(signals: Iterable<AbortSignal>): AbortSignal;
};

interface AbortController {
	readonly signal: AbortSignal;
	abort(reason?: unknown): void;
}
declare var AbortController: { prototype: AbortController; new (): AbortController };

interface DOMException extends Error {
	readonly name: string;
	readonly message: string;
	readonly code: number;
}
declare var DOMException: {
	prototype: DOMException;
	new (message?: string, name?: string): DOMException;
};

/** What Request and Response have in common.  A body can be read once. */
interface Body {
	readonly bodyUsed: boolean;
	text(): Promise<string>;
	json(): Promise<any>;
	bytes(): Promise<Uint8Array<ArrayBuffer>>;
	arrayBuffer(): Promise<ArrayBuffer>;
}

interface RequestInit {
	method?: string;
	headers?: HeadersInit;
	body?: BodyInit | null;
	signal?: AbortSignal | null;
}

/** Of the request; null where the server knows none: over HTTP there is no caller. */
interface TanaRequest {
	readonly caller: any;
	readonly session: any;
	readonly contract: {
		readonly id: string;
		readonly owner: string | null;
		readonly name: string | null;
	};
}

interface Request extends Body {
	readonly url: string;
	readonly method: string;
	readonly headers: Headers;
	readonly signal: AbortSignal;
	/** Without the contract's prefix: /hello/a/b is /a/b for the contract hello. */
	readonly path: string;
	/** The first value of each name. */
	readonly query: { readonly [name: string]: string | undefined };
	/** By the first pattern of "routes" in contract.json that fits the path. */
	readonly params: { readonly [name: string]: string | undefined };
	/** The client's address. */
	readonly ip: string | null;
	/** In get and post handlers: JSON parsed, others as text or bytes; null without one. */
	readonly body: unknown;
	readonly tana: TanaRequest;
	clone(): Request;
}
declare var Request: {
	prototype: Request;
	new (input: string | URL | Request, init?: RequestInit): Request;
};

interface ResponseInit {
	status?: number;
	statusText?: string;
	headers?: HeadersInit;
}

interface Response extends Body {
	readonly status: number;
	readonly statusText: string;
	readonly ok: boolean;
	readonly headers: Headers;
	readonly type: string;
	readonly url: string;
	readonly redirected: boolean;
	clone(): Response;
}
declare var Response: {
	prototype: Response;
	/** A body that is an object goes out as JSON. */
	new (status: number, body?: BodyInit | object | null, headers?: HeadersInit): Response;
	new (body?: BodyInit | null, init?: ResponseInit): Response;
	json(data: unknown, init?: number | ResponseInit): Response;
	text(data: string, init?: number | ResponseInit): Response;
	redirect(url: string | URL, status?: 301 | 302 | 303 | 307 | 308): Response;
	error(): Response;
};

/** The third argument of fetch() in a default export. */
interface ExecutionContext {
	/** The answer waits too: the heap ends with the request. */
	waitUntil(promise: Promise<unknown>): void;
	passThroughOnException(): void;
}
