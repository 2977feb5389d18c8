// Leaves traces wherever a request can: globals, prototypes, built-ins, its own
// module's state.  It first reports the traces that it finds, which must be
// none: each request starts from the same heap.
import { console } from "tana/core";

const builtins = {
	now: Date.now,
	log: console.log,
};
let visits = 0;

function traces(): string[] {
	const found: string[] = [];
	const look = (name: string, clean: boolean) => clean || found.push(name);

	look("module variable", visits === 0);
	look("global variable", (globalThis as any).polluted === undefined);
	look("Object.prototype", ({} as any).polluted === undefined);
	look("Array.prototype", ([] as any).polluted === undefined);
	look("Function.prototype", (traces as any).polluted === undefined);
	look("String.prototype.trim", " x ".trim() === "x");
	look("Date.now", Date.now === builtins.now);
	look("console.log", console.log === builtins.log);
	look("Symbol", (Symbol as any).polluted === undefined);
	look("Math.PI", Math.floor(Math.PI * 100) === 314);
	look("Promise.prototype.then", !(Promise.prototype.then as any).polluted);
	return found;
}

// What is read-only refuses: nothing to clean up then.
function attempt(change: () => void): void {
	try {
		change();
	} catch {
		return;
	}
}

export function Get(): { found: string[]; random: number } {
	const report = { found: traces(), random: Math.random() };

	visits++;
	attempt(() => ((globalThis as any).polluted = true));
	attempt(() => ((Array.prototype as any).polluted = true));
	attempt(() => ((Function.prototype as any).polluted = true));
	attempt(() => ((Symbol as any).polluted = true));
	attempt(() => ((Promise.prototype.then as any).polluted = true));
	attempt(() => ((Math as any).PI = 3));
	attempt(() => (Date.now = () => 0));
	attempt(() => (console.log = () => {}));
	// A timer that nobody waits for.
	setTimeout(() => ((globalThis as any).polluted = "late"), 0);
	// Not JSON.stringify and Array.prototype.push: the report itself needs them whole.
	attempt(() => (String.prototype.trim = () => "polluted"));
	attempt(() => Object.defineProperty(Object.prototype, "polluted", { value: true, configurable: true }));
	return report;
}
