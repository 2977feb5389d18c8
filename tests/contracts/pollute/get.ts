// Leaves traces wherever a request can: globals, prototypes, built-ins, its own
// module's state.  It first reports the traces that it finds, which must be
// none: each request starts from the same heap.
import { console } from "tana/core";

const builtins = {
	push: Array.prototype.push,
	stringify: JSON.stringify,
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
	look("Array.prototype.push", Array.prototype.push === builtins.push);
	look("JSON.stringify", JSON.stringify === builtins.stringify);
	look("Date.now", Date.now === builtins.now);
	look("console.log", console.log === builtins.log);
	look("Symbol registry", Symbol.for("polluted").toString().length > 0 && !(Symbol as any).polluted);
	look("Math.PI", Math.abs(Math.PI - 3.14159) < 0.001);
	look("Promise.prototype.then", !(Promise.prototype.then as any).polluted);
	look("string iterator", [..."ab"].length === 2);
	return found;
}

export function Get(): unknown {
	const found = traces();
	const report = { found, random: Math.random() };

	visits++;
	(globalThis as any).polluted = true;
	(Array.prototype as any).polluted = true;
	(Function.prototype as any).polluted = true;
	(Symbol as any).polluted = true;
	(Promise.prototype.then as any).polluted = true;
	Date.now = () => 0;
	console.log = () => {};
	try {
		(Math as any).PI = 3;
	} catch {
		// It is read-only, and this code strict.
	}
	// Last, since they would spoil the report itself.
	setTimeout(() => {
		(globalThis as any).polluted = "late";
	}, 0);
	Array.prototype.push = () => 0;
	Object.defineProperty(Object.prototype, "polluted", { value: true, configurable: true });
	return report;
}
