/*
 * TypeScript's own compiler, as the measurements use it: types away, ES5, CommonJS;
 * nothing is checked against declarations, as by the other compilers.
 */
"use strict";

const path = require("path");

/* Most of what compiling a small contract costs. */
function load(packages) {
	return require(path.join(packages, "typescript"));
}

/* The code; throws an Error that names the place of what is wrong. */
function transpile(ts, text, file) {
	const { outputText, diagnostics } = ts.transpileModule(text, {
		fileName: file,
		reportDiagnostics: true,
		compilerOptions: { target: ts.ScriptTarget.ES5, module: ts.ModuleKind.CommonJS },
	});

	for (const d of diagnostics) {
		const { line, character } = d.file.getLineAndCharacterOfPosition(d.start);

		throw new Error(`${file}:${line + 1}:${character + 1}: ` +
		    ts.flattenDiagnosticMessageText(d.messageText, " "));
	}
	return outputText;
}

module.exports = { load, transpile };
