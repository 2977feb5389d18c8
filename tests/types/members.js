/*
 * What globals.d.ts and modules.d.ts declare, as JSON:
 *	{ globals: { NAME: [members of what it makes] }, statics: { NAME: [...] },
 *	  modules: { NAME: { export: [members] } } }
 * usage: node members.js TYPESCRIPT TYPES-DIRECTORY
 */
"use strict";

const path = require("path");
const ts = require(process.argv[2]);
const dir = process.argv[3];

const config = ts.getParsedCommandLineOfConfigFile(path.join(dir, "tsconfig.json"), {},
    { ...ts.sys, onUnRecoverableConfigFileDiagnostic: (d) => { throw new Error(d.messageText); } });
const files = ["globals.d.ts", "modules.d.ts"].map((f) => path.join(dir, "tana", f));
const program = ts.createProgram(files, config.options);
const checker = program.getTypeChecker();
const out = { globals: {}, statics: {}, modules: {} };

/* Well-known symbols have names of the checker's own. */
function membersOf(type) {
	return type.getProperties().map((p) => p.getName()).filter((n) => !n.startsWith("__@"));
}

function isType(symbol) {
	return (symbol.flags & ts.SymbolFlags.Value) === 0;
}

for (const file of files)
	ts.forEachChild(program.getSourceFile(file), (node) => {
		if (ts.isVariableStatement(node) || ts.isFunctionDeclaration(node)) {
			const [d] = ts.isVariableStatement(node) ? node.declarationList.declarations : [node];
			const name = d.name.text, type = checker.getTypeAtLocation(d);
			const made = type.getProperty("prototype");

			out.globals[name] = made ? membersOf(checker.getTypeOfSymbol(made)) : [];
			out.statics[name] = ts.isFunctionDeclaration(node) || name === "self" ? [] :
			    membersOf(type).filter((n) => n !== "prototype");
		}
		if (ts.isModuleDeclaration(node)) {
			const exports = checker.getExportsOfModule(checker.getSymbolAtLocation(node.name));

			out.modules[node.name.text] = {};
			for (const exported of exports) {
				const symbol = exported.flags & ts.SymbolFlags.Alias ?
				    checker.getAliasedSymbol(exported) : exported;

				if (isType(symbol) || symbol.getName() === "none")
					continue;
				const type = checker.getTypeOfSymbol(symbol);

				out.modules[node.name.text][exported.getName()] =
				    type.getProperty("prototype") ? [] : membersOf(type);
			}
		}
	});
process.stdout.write(JSON.stringify(out));
