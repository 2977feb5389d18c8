"""The .d.ts files that ship: TypeScript takes the examples and reports mistakes, and
what they declare is what the runtime has."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from test_toolchain import SOURCE, TANA, WORKER, tana, write

SOURCE = SOURCE.resolve()
TYPES = SOURCE / "worker/toolchain/types"
NODE = re.search(r"^exec '(.*?)'", Path(TANA).read_text(), re.M).group(1)
TYPESCRIPT = Path(re.search(r"^TANA_NODE_MODULES='(.*)'", Path(TANA).read_text(), re.M).group(1)) / "typescript"

pytestmark = pytest.mark.skipif(not TYPESCRIPT.exists(), reason=f"no TypeScript in {TYPESCRIPT.parent} (npm ci of worker/toolchain/package-lock.json installs it)")

# What the language has by itself, where the types come from TypeScript's own lib.
LANGUAGE = set("""AggregateError Array ArrayBuffer AsyncDisposableStack AsyncIterator Boolean DataView Date DisposableStack Error EvalError
    Float32Array Float64Array Function Infinity Int16Array Int32Array Int8Array Iterator JSON Map Math NaN Number Object Promise Proxy RangeError
    ReferenceError Reflect RegExp Set String SuppressedError Symbol SyntaxError TypeError URIError Uint16Array Uint32Array Uint8Array
    Uint8ClampedArray WeakMap WeakSet decodeURI decodeURIComponent encodeURI encodeURIComponent escape eval globalThis isFinite isNaN parseFloat
    parseInt undefined unescape""".split())


def tsc(project):
    return subprocess.run([NODE, TYPESCRIPT / "bin/tsc", "-p", project, "--pretty", "false"], capture_output=True, text=True, timeout=300)


def test_examples_and_uses_are_right_and_each_mistake_is_reported():
    """An @ts-expect-error without an error is an error itself."""
    r = tsc(SOURCE / "tests/types")
    assert (r.returncode, r.stdout) == (0, "")
    listed = subprocess.run([NODE, TYPESCRIPT / "bin/tsc", "-p", SOURCE / "tests/types", "--listFilesOnly"], capture_output=True, text=True, timeout=300)
    checked = {Path(line) for line in listed.stdout.split()}
    examples = set((SOURCE / "tests/contracts").rglob("*.ts"))
    assert len(examples) > 10 and examples <= checked
    assert {SOURCE / "tests/types/uses.ts", SOURCE / "tests/types/mistakes.ts"} <= checked


def test_the_mistakes_are_mistakes(tmp_path):
    """Without the marks there are as many errors as there were marks, each on the line after one."""
    text = (SOURCE / "tests/types/mistakes.ts").read_text().split("\n")
    marks = [i for i, line in enumerate(text, 1) if "@ts-expect-error" in line]
    assert len(marks) > 40
    write(tmp_path, {"mistakes.ts": "\n".join(line.replace("@ts-expect-error", "a mistake") for line in text),
                     "tsconfig.json": json.dumps({"extends": str(TYPES / "tsconfig.json")})})
    r = tsc(tmp_path)
    assert r.returncode != 0
    assert {int(n) for n in re.findall(r"^\S*mistakes\.ts\((\d+),", r.stdout, re.M)} == {m + 1 for m in marks}


def test_a_new_contract_type_checks_as_it_is(tmp_path):
    assert tana("new", "contract", "shop", cwd=tmp_path).returncode == 0
    r = tsc(tmp_path / "shop")
    assert (r.returncode, r.stdout) == (0, "")
    write(tmp_path, {"shop/contract.ts": "import { Response } from 'tana/net';\nexport const get = () => Response.jsn(1);\n"})
    r = tsc(tmp_path / "shop")
    assert r.returncode != 0 and "contract.ts(2,35)" in r.stdout


def test_what_is_installed_finds_its_types(tmp_path):
    """As `make install` puts them: the launcher's own directory, types below it."""
    listed = re.findall(r"%D%/types/(\S+)", (SOURCE / "worker/toolchain/local.mk").read_text())
    assert sorted(listed) == sorted(str(p.relative_to(TYPES)) for p in TYPES.rglob("*") if p.is_file())
    for name in listed:
        (tmp_path / "types" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TYPES / name, tmp_path / "types" / name)
    write(tmp_path, {"c/get.ts": "import { console } from 'tana/core';\nexport const Get = () => console.log(1);\n",
                     "c/tsconfig.json": json.dumps({"extends": str(tmp_path / "types/tsconfig.json")})})
    r = tsc(tmp_path / "c")
    assert (r.returncode, r.stdout) == (0, "")


LOOK = """
exports.get = function () {
	var declared = DECLARED, missing = [], all = Object.getOwnPropertyNames(globalThis);
	function has(o, name, what) { if (!(name in o)) missing.push(what + '.' + name); }
	Object.keys(declared.globals).forEach(function (name) {
		if (!(name in globalThis)) { missing.push(name); return; }
		declared.globals[name].forEach(function (m) { if (m !== 'cause') has(globalThis[name].prototype, m, name + '.prototype'); });
		declared.statics[name].forEach(function (m) { has(globalThis[name], m, name); });
	});
	Object.keys(declared.modules).forEach(function (module) {
		var m = require(module);
		Object.keys(declared.modules[module]).forEach(function (name) {
			if (m[name] === undefined) { missing.push(module + ':' + name); return; }
			declared.modules[module][name].forEach(function (member) { has(m[name], member, module + ':' + name); });
		});
		Object.keys(m).forEach(function (name) {
			if (m[name] !== undefined && !declared.modules[module][name]) missing.push('not declared: ' + module + ':' + name);
			if (m[name] && !m[name].prototype && typeof m[name] === 'object') Object.getOwnPropertyNames(m[name]).forEach(function (member) {
				if (declared.modules[module][name].indexOf(member) < 0) missing.push('not declared: ' + module + ':' + name + '.' + member);
			});
		});
	});
	return { missing: missing, all: all };
};
"""


def test_the_runtime_has_what_is_declared_and_nothing_is_forgotten(tmp_path):
    r = subprocess.run([NODE, SOURCE / "tests/types/members.js", TYPESCRIPT, TYPES], capture_output=True, text=True, timeout=300)
    assert r.returncode == 0, r.stderr
    declared = json.loads(r.stdout)
    names = set(json.loads(re.search(r"names = (\[.*?\])", (SOURCE / "worker/toolchain/modules.js").read_text()).group(1)))
    assert set(declared["modules"]) == {f"tana{sep}{n}" for n in names for sep in "/:"}
    # A declaration that nothing answers to has to be found.
    declared["globals"]["Headers"].append("planted")
    declared["modules"]["tana/core"]["planted"] = []
    write(tmp_path, {"get.js": LOOK.replace("DECLARED", json.dumps(declared))})
    r = subprocess.run([WORKER, "--run", f"get.js={tmp_path}/get.js"], capture_output=True, text=True, timeout=60)
    answer = json.loads(r.stdout)
    assert "body" in answer, answer
    found = json.loads(answer["body"])
    # A stack is the error's own property.
    assert set(found["missing"]) - {"DOMException.prototype.stack"} == {"Headers.prototype.planted", "tana/core:planted"}
    assert set(found["all"]) - LANGUAGE == set(declared["globals"])


def test_the_language_s_types_promise_only_what_runs(tmp_path):
    """The newest functions that the lib in tsconfig.json lets contracts use."""
    write(tmp_path, {"get.ts": """
        export const Get = async () => [[3, 1].toSorted(), [1, 2].toReversed(), [1, 2].with(0, 5), [1, 2, 3].findLast((n) => n < 3), "a".at(-1),
            Object.groupBy([1, 2, 3], (n) => n % 2 ? "odd" : "even"), [...Map.groupBy([1, 2], (n) => n > 1).keys()], typeof Promise.withResolvers().resolve,
            await Array.fromAsync([Promise.resolve(1)]), "a-b-a".replaceAll("a", "c"), Object.fromEntries([["a", 1]]), [[1], [2]].flat(),
            await Promise.any([Promise.resolve(2)]), (await Promise.allSettled([1]))[0].status, Object.hasOwn({ a: 1 }, "a"), new Error("m", { cause: 4 }).cause,
            [..."a1b2".matchAll(/\\d/g)].map(String), "x".padStart(3, "-"), await Promise.try(() => 6), new Uint8Array([2, 1]).toSorted()[0]];""",
                     "tsconfig.json": json.dumps({"extends": str(TYPES / "tsconfig.json")})})
    r = tsc(tmp_path)
    assert (r.returncode, r.stdout) == (0, "")
    r = tana("run", tmp_path)
    assert r.returncode == 0, r.stderr
    assert json.loads(r.stdout) == [[1, 3], [2, 1], [5, 2], 2, "a", {"odd": [1, 3], "even": [2]}, [False, True], "function", [1], "c-b-c", {"a": 1}, [1, 2],
                                    2, "fulfilled", True, 4, ["1", "2"], "--x", 6, 1]
