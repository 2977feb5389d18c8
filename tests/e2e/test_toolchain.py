"""tana: lowering, errors with places, the boundary around a contract's files,
deployment, and the compiler that the server keeps at hand."""

import json
import os
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest

from conftest import descendants, until

SOURCE = Path(os.environ["TANA_SOURCE"])
BUILD = Path(os.environ["TANA_BUILD"])
TANA = str(BUILD / "tana")
WORKER = str(BUILD / "tana-worker")
EXAMPLES = SOURCE / "tests" / "contracts"
VERSION = re.compile(r"^[0-9a-f]{16}(\.[0-9]+)?$")


def tana(*args, **kwargs):
    kwargs.setdefault("timeout", 120)
    return subprocess.run([TANA, *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True, text=True, **kwargs)


def write(directory, files):
    for name, text in files.items():
        path = Path(directory) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Path(directory)


class Server:
    """A compile-server, and the front's end of its socket."""

    def __init__(self, contracts):
        self.sock, child = socket.socketpair()
        self.sock.settimeout(120)

        def channel():
            os.dup2(child.fileno(), 3)
            os.set_inheritable(3, True)

        self.process = subprocess.Popen([TANA, "compile-server", "--contracts", str(contracts)], pass_fds=(3,),
                                        preexec_fn=channel, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True)
        child.close()
        self.contracts = Path(contracts)
        self.id = 0

    def send(self, text):
        text = text.encode() if isinstance(text, str) else text
        self.sock.sendall(struct.pack(">I", len(text)) + text)

    def receive(self):
        def exactly(n):
            data = b""
            while len(data) < n:
                chunk = self.sock.recv(n - len(data))
                if not chunk:
                    raise EOFError(self.process.stderr.read())
                data += chunk
            return data

        return json.loads(exactly(struct.unpack(">I", exactly(4))[0]))

    def request(self, directory, *files):
        self.id += 1
        return {"id": self.id, "contract": directory, "dir": directory, "files": list(files)}

    def lower(self, directory, *files):
        q = self.request(directory, *files)
        self.send(json.dumps(q))
        answer = self.receive()
        assert answer["id"] == q["id"]
        return answer

    def end(self):
        self.sock.close()
        _, err = self.process.communicate(timeout=60)
        return self.process.returncode, err


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    s = Server(tmp_path_factory.mktemp("contracts"))
    yield s
    status, err = s.end()
    assert (status, err) == (0, "")


@pytest.fixture
def contracts(tmp_path):
    (tmp_path / "contracts").mkdir()
    return tmp_path / "contracts"


# -- lowering: each feature is compiled by itself, all run in one heap ----------

# name: (files or the text of get.ts, what Get() gives)
FEATURES = {
    "classes": ("""
        abstract class A { static made = 0; constructor(protected n: number) { A.made++; } abstract f(): string; get g() { return this.n * 2; } }
        class B extends A { f() { return `B${this.n}`; } get g() { return super.g + 1; } static who() { return this.name; } }
        export const Get = () => { const b = new B(2); return [b.f(), b.g, b instanceof A, A.made, B.who()]; };""",
                ["B2", 5, True, 1, "B"]),
    "private-members": ("""
        class C { #x = 1; static #count = 0; #inc() { return ++this.#x; } static is(o: object) { return #x in o; }
          get v() { C.#count++; return this.#inc(); } static get count() { return C.#count; } static { C.#count = 10; } }
        export const Get = () => { const c = new C(); return [c.v, c.v, C.count, C.is(c), C.is({})]; };""",
                        [2, 3, 12, True, False]),
    "extends-natives": ("""
        class List extends Array<number> { sum() { return this.reduce((a, b) => a + b, 0); } }
        class Failure extends Error { constructor(m: string, readonly code: number) { super(m); this.name = "Failure"; } }
        class Table extends Map<string, number> { double(k: string) { return this.get(k)! * 2; } }
        export const Get = () => { const l = List.from([1, 2]) as List; l.push(3); const f = new Failure("no", 7);
          return [l.sum(), l.length, l.map((x) => x) instanceof List, f instanceof Failure, f instanceof Error, String(f), f.code,
            new Table([["a", 4]]).double("a")]; };""",
                        [6, 3, True, True, True, "Failure: no", 7, 8]),
    "template-strings": ("""
        const tag = (s: TemplateStringsArray, ...v: unknown[]) => s.raw.join("|") + v.join(",");
        export const Get = () => [`a${1 + 1}b${`c${3}`}`, tag`x\\n${1}y${2}`, `two
lines`];""", ["a2bc3", "x\\n|y|1,2", "two\nlines"]),
    "destructuring": ("""
        const f = ({ a, b: { c = 5, ...d } = {} as any, ...rest }: any, [x, , y = 9, ...z]: number[]) => [a, c, d, rest, x, y, z];
        export const Get = () => { let p = 1, q = 2; [p, q] = [q, p]; const { length } = "four"; const { ["k" + 1]: k } = { k1: "v" } as any;
          return [f({ a: 1, b: { e: 2 }, g: 3 }, [1, 2]), f({}, [1, 2, 3, 4]), p, q, length, k]; };""",
                      [[1, 5, {"e": 2}, {"g": 3}, 1, 9, []], [None, 5, {}, {}, 1, 3, [4]], 2, 1, 4, "v"]),
    "spread": ("""
        const f = (...a: unknown[]) => a.length;
        export const Get = () => [[...[1, 2], ...new Set([2, 3]), ..."ab"], { a: 1, ...{ a: 2, b: 3 }, c: 4 }, f(...[1, 2], 3), Math.max(...[4, 9, 2]),
          new Date(...([2020, 0, 1] as [number, number, number])).getTime() > 0];""",
               [[1, 2, 2, 3, "a", "b"], {"a": 2, "b": 3, "c": 4}, 3, 9, True]),
    "scopes": ("""
        export const Get = () => { const fs = []; for (let i = 0; i < 3; i++) fs.push(() => i); let x = 1; { let x = 2; x++; }
          const r: number[] = []; outer: for (const a of [1, 2, 3]) for (const b of [1, 2, 3]) { if (b === 2) continue outer; if (a === 3) break outer; r.push(a * 10 + b); }
          return [fs.map((f) => f()), x, r]; };""", [[0, 1, 2], 1, [11, 21]]),
    "operators": ("""
        export const Get = () => { const o: any = { a: null, n: 0 }; o.a ??= "x"; o.n ||= 7; o.n &&= o.n + 1;
          return [o?.b?.c ?? "none", o.f?.(), 2 ** 10, 1_000_000, o, delete o?.a, 0b101 + 0o17, [1, 2, 3].at(-1), Object.hasOwn(o, "n")]; };""",
                  ["none", None, 1024, 1000000, {"n": 8}, True, 20, 3, True]),
    "generators": ("""
        function* count(n: number): Generator<number, string, number> { let got = 0; try { for (let i = 0; i < n; i++) got += (yield i) ?? 0; return "end" + got; } finally { log.push("closed"); } }
        const log: string[] = [];
        function* both() { const r = yield* count(2); yield r as any; }
        export const Get = () => { const g = count(3); g.next(); g.next(5); const last = g.return("early");
          const h = count(2); h.next(); h.next(3); const done = h.next(4);
          for (const x of count(9)) if (x === 1) break;
          return [[...both()], last, done, log.length]; };""",
                   [[0, 1, "end0"], {"value": "early", "done": True}, {"value": "end7", "done": True}, 4]),
    "async": ("""
        const later = (v: any, ms = 0) => new Promise((ok) => setTimeout(() => ok(v), ms));
        class A { v = 3; async m() { const f = async () => this.v + (await later(1) as number); return f(); } }
        const tries = async (): Promise<any> => { const log: string[] = []; try { await Promise.reject(new Error("x")); } catch (e: any) { log.push(e.message); } finally { await later(0); log.push("finally"); } return log; };
        export const Get = async () => [await new A().m(), await tries(), await Promise.all([later(1, 2), 2, later(3)]),
          (await Promise.allSettled([Promise.reject(1), 2])).map((r) => r.status), await Promise.any([Promise.reject(1), later(5)])];""",
              [4, ["x", "finally"], [1, 2, 3], ["rejected", "fulfilled"], 5]),
    "async-generators": ("""
        const log: string[] = [];
        async function* g(n: number) { try { for (let i = 0; i < n; i++) { await null; yield i; } } finally { log.push("closed"); } }
        async function* h() { yield* g(2); yield* [7, 8]; }
        export const Get = async () => { const r: number[] = []; for await (const x of h()) r.push(x);
          for await (const x of g(9)) if (x === 1) break;
          for await (const x of [Promise.resolve(10), 11]) r.push(x);
          const it = { [Symbol.asyncIterator]() { let i = 0; return { next: async () => ({ value: i++, done: i > 2 }) }; } };
          for await (const x of it) r.push(x + 100);
          const e = await (async () => { for await (const x of (async function* () { throw new Error("in"); })()) r.push(x); })().catch((x) => x.message);
          return [r, log, e]; };""", [[0, 1, 7, 8, 10, 11, 100, 101], ["closed", "closed"], "in"]),
    "iterators": ("""
        class Tree implements Iterable<number> { constructor(readonly v: number, readonly kids: Tree[] = []) {} *[Symbol.iterator](): Iterator<number> { yield this.v; for (const k of this.kids) yield* k; } }
        export const Get = () => [[...new Tree(1, [new Tree(2, [new Tree(3)]), new Tree(4)])], Array.from(new Map([["a", 1]]).entries()), [..."a🎉b"], Object.fromEntries(new Map([["k", 1]]))];""",
                  [[1, 2, 3, 4], [["a", 1]], ["a", "🎉", "b"], {"k": 1}]),
    "typescript": ("""
        enum Color { Red, Green = 5, Blue } const enum K { A = "a" } namespace N { export const x = 1; export namespace M { export const y = 2; } }
        interface I { a: number } type T<X> = X extends string ? 1 : 2; declare const unused: T<string>;
        function over(a: string): string; function over(a: number): number; function over(a: any) { return a; }
        export const Get = () => { const v = { a: 1 } satisfies I as unknown as I; return [Color.Blue, Color[5], K.A, N.x + N.M.y, over(3), v!.a, <number>4]; };""",
                   [6, "Green", "a", 3, 3, 1, 4]),
    "decorators": ("""
        const twice = (f: any, c: ClassMethodDecoratorContext) => function (this: any, ...a: any[]) { return f.apply(this, a) * 2; };
        class A { @twice f(n: number) { return n + 1; } }
        export const Get = () => new A().f(2);""", 6),
    "using": ("""
        const log: string[] = [];
        export const Get = () => { { using a = { [Symbol.dispose]() { log.push("disposed"); } }; log.push("used"); } return log; };""",
              ["used", "disposed"]),
    "prototype-literal": ("""
        const base = { hi() { return "hi " + (this as any).who; } };
        const order: number[] = []; const n = (x: any, i: number) => (order.push(i), x);
        export const Get = () => { const o: any = { who: n("me", 1), __proto__: n(base, 2), z: n(0, 3) }; const e = { "__proto__": null, a: 1 };
          const { __proto__ } = o; const own = { __proto__, ["__proto__"]: 1 }; const nested: any = { a: { __proto__: { deep: 1 } }, ...{ b: 2 }, __proto__: base };
          return [o.hi(), Object.keys(o), order, Object.getPrototypeOf(e), Object.keys(e), nested.a.deep, nested.hi === base.hi, Object.keys(nested),
            { __proto__: 5 } instanceof Object, Object.getPrototypeOf(own) === Object.prototype]; };""",
                          ["hi me", ["who", "z"], [1, 2, 3], None, ["a"], 1, True, ["a", "b"], True, True]),
    "strict": ("""
        function self(this: any) { return this === undefined; }
        export const Get = () => { let e = "none"; try { (Object.freeze({ a: 1 }) as any).a = 2; } catch (x: any) { e = x.name; } return [self(), e]; };""",
               [True, "TypeError"]),
    "unicode": ("""
        const größe = "ä\\u{1F600}ẞ"; export const Get = () => [größe, größe.length, [...größe].length, "\\u{41}", "\\0🎉".codePointAt(1)];""",
                ["ä😀ẞ", 4, 3, "A", 0x1f389]),
    "regexps": ("""
        export const Get = () => { const m = /(?<y>\\d{4})-(?<m>\\d\\d)/.exec("on 2026-11")!; const s = /a/y; s.lastIndex = 1;
          return [m.groups!.y, m.groups!.m, s.test("ba"), /a.b/s.test("a\\nb"), "x1y2".replaceAll(/\\d/g, "#"), [..."a1b2".matchAll(/[a-z](\\d)/g)].map((x) => x[1])]; };""",
                ["2026", "11", True, True, "x#y#", ["1", "2"]]),
    "functions": ("""
        function f(a: number, b = a + 1, ...c: number[]) { return [a, b, c, f.length]; }
        function G(this: any) { return new.target === undefined; } const o = { async *a() {}, *g() {}, get x() { return 1; }, ["c" + 1]() { return 2; } };
        export const Get = () => [f(1), f(1, 2, 3, 4), (G as any)(), o.x, (o as any).c1(), (function () { return (() => arguments.length)(); } as any)(1, 2, 3)];""",
                  [[1, 2, [], 1], [1, 2, [3, 4], 1], True, 1, 2, 3]),
    "modules": ({
        "get.ts": """
        import data from "./data.json"; import text from "./note.txt"; import def, { named as other } from "./lib/a"; import * as all from "./lib/a.js";
        import { even } from "./lib/even"; export { even }; import type { Shape } from "./lib/a";
        export async function Get() { const s: Shape = { n: 1 }; const dyn = await import("./lib/late"); const cjs = require("./lib/old.cjs");
          return [data.list, text, def, other, Object.keys(all).sort(), even(10), dyn.late, cjs.three, s]; }""",
        "data.json": '{"list": [1, 2]}', "note.txt": "a note",
        "lib/a.ts": "export interface Shape { n: number } export default 'def'; export const named = 'named';",
        "lib/even.ts": "import { odd } from './odd'; export const even = (n: number): boolean => n === 0 || odd(n - 1);",
        "lib/odd.ts": "import { even } from './even'; export const odd = (n: number): boolean => n !== 0 && even(n - 1);",
        "lib/late.ts": "export const late = 'late';", "lib/old.cjs": "module.exports = { three: 3 };",
    }, [[1, 2], "a note", "def", "named", ["default", "named"], True, "late", 3, {"n": 1}]),
    "packages": ({
        "get.ts": """
        import esm from "esm-package"; import { sub } from "esm-package/sub"; import old from "old-package"; import web from "web-package"; import { deep } from "linked";
        export const Get = () => [esm, sub, old(), web, deep];""",
        "node_modules/esm-package/package.json": '{"type": "module", "exports": {".": {"node": "./node.js", "import": "./index.js"}, "./sub": "./other.js"}}',
        "node_modules/esm-package/index.js": "export default 'esm';", "node_modules/esm-package/node.js": "export default 'node';",
        "node_modules/esm-package/other.js": "export const sub = 'sub';",
        "node_modules/old-package/package.json": '{"main": "lib/main"}',
        # Sloppy on purpose: it must not become strict.
        "node_modules/old-package/lib/main.js": "leaked = 1; module.exports = function () { return typeof this + leaked; };",
        "node_modules/web-package/package.json": '{"main": "server.js", "browser": {"./server.js": "./web.js"}}',
        "node_modules/web-package/server.js": "require('fs');", "node_modules/web-package/web.js": "module.exports = 'web';",
        "node_modules/.store/linked/package.json": '{"module": "m.mjs"}', "node_modules/.store/linked/m.mjs": "export const deep = 'linked';",
    }, ["esm", "sub", "object1", "web", "linked"]),
    "tana-modules": ("""
        import { version } from "tana/core"; import * as net from "tana:net"; import { block } from "tana:block"; import { tx } from "tana/tx";
        export async function Get() { const again = await import("tana/core"); return [typeof version.duktape, typeof net.Response.json, block.MAX_BATCH_QUERY, tx.getChanges(), again.version === version]; }""",
                     ["string", "function", 10, [], True]),
}


@pytest.fixture(scope="module")
def features(server, tmp_path_factory):
    """name -> the feature's answer; what cannot be compiled has no answer."""
    parts, refused = [], {}
    for name, (files, _) in FEATURES.items():
        files = {"get.ts": files} if isinstance(files, str) else files
        root = write(server.contracts / f"feature-{name}", files)
        if (root / "node_modules/.store/linked").exists():
            (root / "node_modules/linked").symlink_to(".store/linked")
        answer = server.lower(f"feature-{name}", "get.ts")
        if "error" in answer:
            refused[name] = answer["error"]
        else:
            parts.append(f"parts[{json.dumps(name)}] = function (exports, require, module) {{{answer['files'][0]['code']}\n}};")
    runner = """
var parts = {};
PARTS
exports.get = function () {
	var names = Object.keys(parts), answers = {};
	return Promise.all(names.map(function (name) {
		return Promise.resolve().then(function () {
			var module = { exports: {} };
			parts[name].call(undefined, module.exports, require, module);
			return module.exports.Get({});
		}).then(function (v) { answers[name] = { value: v }; },
		    function (e) { answers[name] = { error: String(e && e.stack || e) }; });
	})).then(function () { return answers; });
};
""".replace("PARTS", "\n".join(parts))
    path = tmp_path_factory.mktemp("run") / "get.js"
    path.write_text(runner)
    r = subprocess.run([WORKER, "--run", f"get.js={path}", "--cpu-seconds", "60"], capture_output=True, text=True, timeout=180)
    assert r.returncode == 0, r.stdout + r.stderr
    answers = json.loads(json.loads(r.stdout)["body"])
    answers.update({name: {"error": text} for name, text in refused.items()})
    return answers


@pytest.mark.parametrize("name", FEATURES)
def test_lowered_feature_gives_what_the_language_says(features, name):
    assert features[name] == {"value": FEATURES[name][1]}


def test_lowered_code_is_ascii_es5_that_names_no_helper_globally(server):
    write(server.contracts / "ascii", {"get.ts": "const ü = async () => `ä${1}`; export const Get = async () => ({ ...await ü() });"})
    code = server.lower("ascii", "get.ts")["files"][0]["code"]
    assert code.isascii()
    assert not re.search(r"=>|\basync\b|`|\bconst\b|\blet\b|globalThis\.", code)


# -- errors with places -----------------------------------------------------------

ERRORS = {
    "syntax error": ("export function Get() {\n\treturn 1 +;\n}\n", "get.ts:2:12: ", "Unexpected"),
    "unknown tana module": ("\nimport { x } from 'tana/foo';\nexport const Get = () => x;", "get.ts:2:19: ", 'no module "tana/foo"'),
    "unknown tana module, other name": ("import 'tana:foo';\nexport const Get = () => 1;", "get.ts:1:8: ", 'no module "tana:foo"'),
    "unknown tana module, nothing of it used": ("import { x } from 'tana/foo';\nexport const Get = () => 1;", "get.ts:1:19: ", 'no module "tana/foo"'),
    "unknown tana module, required": ("export const Get = () =>\n require('tana/foo');", "get.ts:2:10: ", 'no module "tana/foo"'),
    "tana is no module by itself": ("import 'tana';\nexport const Get = 1;", "get.ts:1:8: ", 'no module "tana"'),
    "missing file": ("import './nope';", "get.ts:1:8: ", '"./nope" is not found'),
    "missing package": ("import z from 'zod';\nexport const Get = () => z;", "get.ts:1:15: ", "node_modules in the contract's directory"),
    "module of Node": ("import fs from 'node:fs';\nexport const Get = () => fs;", "get.ts:1:16: ", "module of Node.js"),
    "missing export": ("import { b } from './a';\nexport const Get = () => b;", "get.ts:1:10: ", '"b"'),
    "await at the top level": ("const x = 1;\n  await x;\nexport const Get = () => x;", "get.ts:2:3: ", "move it into the handler"),
    "BigInt literal": ("export const Get = () =>\n\t10n;", "get.ts:2:2: ", "BigInt is not available"),
    "BigInt function": ("export const Get = () => BigInt(1);", "get.ts:1:26: ", "BigInt is not available"),
    "WeakRef": ("export const Get = () => new WeakRef({});", "get.ts:1:30: ", "WeakRef is not available"),
    "SharedArrayBuffer": ("export const Get = () => new SharedArrayBuffer(1);", "get.ts:1:30: ", "SharedArrayBuffer is not available"),
    "WebAssembly": ("export const Get = () => WebAssembly;", "get.ts:1:26: ", "WebAssembly is not available"),
    "process": ("export const Get = () => process.argv;", "get.ts:1:26: ", "process is not available"),
    "regexp flag v": ("export const Get = () => /[a--b]/v;", "get.ts:1:26: ", "flag v"),
    "regexp flag v at run time": ("export const Get = () => new RegExp('a', 'v');", "get.ts:1:26: ", "flag v"),
    "import.meta": ("export const Get = () => import.meta.url;", "get.ts:1:26: ", "import.meta is not available"),
    "column after letters of several bytes": ("export const Get = () => ['äöü🎉', 1n];", "get.ts:1:36: ", "BigInt"),
    "error in an imported file": ("import './sub/bad';\nexport const Get = 1;", "sub/bad.ts:2:1: ", "Unexpected"),
    "style sheet": ("import './x.css';\nexport const Get = 1;", "get.ts:1:8: ", "can be imported"),
    "from the network": ("import 'https://example.org/x.js';\nexport const Get = 1;", "get.ts:1:8: ", "only files can be imported"),
}


@pytest.mark.parametrize("what", ERRORS)
def test_error_has_file_line_and_column(server, what):
    text, place, words = ERRORS[what]
    name = "error-" + re.sub("[^a-z]+", "-", what.lower()).strip("-")
    write(server.contracts / name, {"get.ts": text, "a.ts": "export const a = 1;", "sub/bad.ts": "const a = 1;\n)", "x.css": "a {}"})
    answer = server.lower(name, "get.ts")
    assert answer["error"].startswith(f"{name}/{place}"), answer
    assert words in answer["error"]
    assert "\n" not in answer["error"]


def test_what_is_guarded_local_or_a_type_is_no_error(server):
    write(server.contracts / "guarded", {"get.ts": """
        import type { T } from "tana/not-there";
        let w: WeakRef<object> | undefined; class Buffer {}
        const make = (process: { argv: string[] }) => process.argv;
        if (typeof WeakRef !== "undefined") w = new WeakRef({});
        export const Get = (): T | unknown => [make({ argv: [] }), new Buffer(), { BigInt: 1 }.BigInt, process.env.NODE_ENV, w];"""})
    assert "files" in server.lower("guarded", "get.ts")


def test_error_is_shown_with_its_line_and_a_mark_below(tmp_path):
    write(tmp_path / "c", {"get.ts": "// one\n\timport { x } from 'tana/foo';\nexport const Get = () => x;\n"})
    r = tana("compile", "c", cwd=tmp_path)
    assert r.returncode == 1
    lines = r.stderr.splitlines()
    assert lines[0].startswith("c/get.ts:2:20: error: there is no module \"tana/foo\"")
    assert lines[1] == "    2 | \timport { x } from 'tana/foo';"
    assert lines[2] == "      | \t                  ^~~~~~~~~~"
    assert not (tmp_path / "c/get.js").exists()


def test_all_files_errors_are_shown_at_once(tmp_path):
    write(tmp_path, {"get.ts": "export const Get = () => 1n;", "post.ts": "export const Post = () => process;"})
    r = tana("compile", tmp_path)
    assert r.returncode == 1
    assert "get.ts:1:26: " in r.stderr and "post.ts:1:27: " in r.stderr


def test_errors_cannot_write_control_characters_to_the_terminal(tmp_path):
    write(tmp_path, {"get.ts": "import '\x1b[31mred'; /* \x07 */\n"})
    r = tana("compile", tmp_path)
    assert r.returncode == 1 and "red" in r.stderr
    assert "\x1b" not in r.stderr and "\x07" not in r.stderr


# -- nothing outside the contract's directory --------------------------------------

SECRET = "export const secret = 'another tenant';"


@pytest.fixture(scope="module")
def victim(server):
    write(server.contracts / "victim", {"secret.ts": SECRET, "secret.json": '{"secret": "another tenant"}', "secret.txt": "another tenant",
                                        "package.json": "another tenant's package.json"})
    return server.contracts / "victim"


def escape_import(root, victim):
    return "import { secret } from '../victim/secret'; export const Get = () => secret;"


def escape_absolute(root, victim):
    return f"import {{ secret }} from '{victim}/secret'; export const Get = () => secret;"


def escape_file_link(root, victim):
    (root / "near.ts").symlink_to("../victim/secret.ts")
    return "import { secret } from './near'; export const Get = () => secret;"


def escape_directory_link(root, victim):
    (root / "lib").symlink_to(victim)
    return "import { secret } from './lib/secret'; export const Get = () => secret;"


def escape_package_link(root, victim):
    (root / "node_modules").mkdir()
    (root / "node_modules/pkg").symlink_to(victim)
    return "import { secret } from 'pkg/secret'; export const Get = () => secret;"


def escape_text(root, victim):
    return "import t from '../victim/secret.txt'; import j from '../victim/secret.json'; export const Get = () => [t, j];"


def escape_glob(root, victim):
    return "export const Get = (req: any) => require('../victim/' + req.path + '.txt');"


def escape_entry_link(root, victim):
    (root / "get.ts").symlink_to("../victim/secret.ts")


ESCAPES = [f for name, f in sorted(globals().items()) if name.startswith("escape_")]


@pytest.mark.parametrize("escape", ESCAPES, ids=lambda f: f.__name__)
def test_files_outside_the_contract_are_refused(server, victim, escape):
    name = escape.__name__.replace("_", "-")
    root = server.contracts / name
    root.mkdir()
    text = escape(root, victim)
    if text is not None:
        (root / "get.ts").write_text(text)
    answer = server.lower(name, "get.ts")
    assert "another tenant" not in json.dumps(answer)
    assert "outside the contract's directory" in answer["error"]


def test_a_linked_package_json_does_not_show_in_messages(server, victim):
    root = write(server.contracts / "linked-json", {"get.ts": "import 'pkg'; export const Get = () => 1;", "node_modules/pkg/index.js": ""})
    (root / "node_modules/pkg/package.json").symlink_to(victim / "package.json")
    assert "another tenant" not in json.dumps(server.lower("linked-json", "get.ts"))


def test_parents_packages_and_settings_have_no_say(tmp_path):
    write(tmp_path, {"node_modules/pkg/index.js": "module.exports = 1;", "tsconfig.json": "this is no JSON",
                     "c/get.ts": "export const Get = () => 1;", "d/get.ts": "import p from 'pkg'; export const Get = () => p;"})
    assert tana("compile", tmp_path / "c").returncode == 0
    r = tana("compile", tmp_path / "d")
    assert r.returncode == 1 and "get.ts:1:15: " in r.stderr


def test_a_source_map_outside_is_not_read(server, victim):
    (victim / "map.json").write_text('{"version": 3, "sources": ["another tenant"], "mappings": "AAAA"}')
    write(server.contracts / "mapped", {"get.ts": "export const Get = () => 1;\n//# sourceMappingURL=../victim/map.json\n"})
    assert "another tenant" not in json.dumps(server.lower("mapped", "get.ts"))


def test_a_fifo_does_not_hold_the_compiler(server):
    root = write(server.contracts / "fifo", {"get.ts": "import './pipe'; export const Get = () => 1;"})
    os.mkfifo(root / "pipe.ts")
    assert "not a regular file" in server.lower("fifo", "get.ts")["error"]


def test_a_huge_file_is_refused(server):
    root = write(server.contracts / "huge", {"get.ts": "import t from './big.txt'; export const Get = () => t;"})
    with open(root / "big.txt", "wb") as f:
        f.truncate(5 << 20)
    assert "larger than 4 MiB" in server.lower("huge", "get.ts")["error"]


# -- the protocol of the compiler that the server keeps at hand ---------------------

def test_server_answers_in_order_what_it_was_sent_at_once(server):
    write(server.contracts / "order", {"get.ts": "export const Get = () => 'the get';", "post.ts": "export const Post = () => 'the post';"})
    ids = []
    burst = b""
    for files in (["get.ts"], ["nope.ts"], ["get.ts", "post.ts"]):
        q = server.request("order", *files)
        ids.append(q["id"])
        text = json.dumps(q).encode()
        burst += struct.pack(">I", len(text)) + text
    for i in range(0, len(burst), 7):
        server.sock.sendall(burst[i:i + 7])
    answers = [server.receive() for _ in ids]
    assert [a["id"] for a in answers] == ids
    assert [f["name"] for f in answers[0]["files"]] == ["get.js"]
    assert answers[1]["error"] == "order/nope.ts: no such file"
    assert [f["name"] for f in answers[2]["files"]] == ["get.js", "post.js"]
    assert "the get" in answers[2]["files"][0]["code"] and "the post" in answers[2]["files"][1]["code"]


def test_server_sees_a_file_that_has_changed(server):
    root = write(server.contracts / "changes", {"get.ts": "export const Get = () => 'first';"})
    assert "first" in server.lower("changes", "get.ts")["files"][0]["code"]
    write(root, {"get.ts": "export const Get = () => 'second';"})
    assert "second" in server.lower("changes", "get.ts")["files"][0]["code"]


def test_server_says_that_a_contract_is_not_there(server):
    assert "not-there" in server.lower("not-there", "get.ts")["error"]
    write(server.contracts / "there", {"get.ts": "export const Get = () => 1;"})
    assert "files" in server.lower("there", "get.ts")


GARBAGE = {
    "no JSON": b"\0\0\0\5hello",
    "a length without sense": b"\xff\xff\xff\xff",
    "an HTTP request": b"GET / HTTP/1.0\r\n\r\n",
    "a path for a directory": b'{"id":1,"dir":"../x","files":["get.ts"]}',
    "a hidden directory": b'{"id":1,"dir":".versions","files":["get.ts"]}',
    "a path for a file": b'{"id":1,"dir":"x","files":["../get.ts"]}',
    "no files": b'{"id":1,"dir":"x","files":[]}',
    "no number": b'{"id":"1","dir":"x","files":["get.ts"]}',
    "null": b"null",
    "half a request": b"\0\0\0\50{",
}


def test_server_ends_on_what_cannot_be_a_request(tmp_path):
    cases = {}
    for what, data in GARBAGE.items():
        cases[what] = Server(tmp_path)
        if data[:1] in b"{n":
            data = struct.pack(">I", len(data)) + data
        cases[what].sock.sendall(data)
        cases[what].sock.shutdown(socket.SHUT_WR)
    ends = {what: s.end() for what, s in cases.items()}
    assert {what: status for what, (status, _) in ends.items()} == dict.fromkeys(GARBAGE, 1)
    assert all(err.startswith("tana: compile-server: ") and err.count("\n") == 1 for _, err in ends.values()), ends


def test_server_without_its_socket_says_so(tmp_path):
    r = tana("compile-server", "--contracts", tmp_path)
    assert r.returncode == 1
    assert "descriptor 3" in r.stderr


# -- compile ------------------------------------------------------------------------

def test_compile_writes_beside_the_source_and_is_not_older(tmp_path):
    write(tmp_path, {"get.ts": "export const Get = () => 1;", "contract.ts": "export const post = () => 1;"})
    r = tana("compile", tmp_path)
    assert (r.returncode, r.stderr) == (0, "")
    for stem in ("get", "contract"):
        assert (tmp_path / f"{stem}.js").stat().st_mtime_ns >= (tmp_path / f"{stem}.ts").stat().st_mtime_ns
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_compile_writes_where_it_is_told(tmp_path):
    write(tmp_path, {"c/get.ts": "export const Get = () => 1;", "one.ts": "export const get = () => 1;"})
    assert tana("compile", "c", "-o", "out/dir", cwd=tmp_path).returncode == 0
    assert tana("compile", "one.ts", "-o", "two.js", cwd=tmp_path).returncode == 0
    out = tana("compile", "one.ts", "-o", "-", cwd=tmp_path)
    assert (tmp_path / "out/dir/get.js").exists()
    assert (tmp_path / "two.js").read_text() == out.stdout != ""


def test_compile_never_writes_over_the_authors_javascript(tmp_path):
    write(tmp_path, {"get.js": "export const Get = () => `mine`;"})
    r = tana("compile", tmp_path)
    assert r.returncode == 1 and "written over" in r.stderr
    assert "mine" in (tmp_path / "get.js").read_text()


# -- the command line ---------------------------------------------------------------

@pytest.mark.parametrize("args, words", [
    ([], "what to do"),
    (["frobnicate"], "unknown command: frobnicate"),
    (["compile"], "PATH is missing"),
    (["compile", "a", "b"], "one argument too many: b"),
    (["compile", "--nope", "a"], "--nope"),
    (["compile", "a", "-o"], "-o"),
    (["deploy"], "PATH is missing"),
    (["deploy", "a", "--id="], "--id needs a value"),
    (["deploy", "a", "--keep", "0"], "--keep is a number from 1 to 1000"),
    (["deploy", "a", "--keep", "ten"], "--keep is a number from 1 to 1000"),
    (["versions"], "ID is missing"),
    (["versions", "a", "b"], "one argument too many: b"),
    (["rollback"], "ID is missing"),
    (["rollback", "a", "b", "c"], "one argument too many: c"),
    (["rollback", "--force", "a"], "--force"),
    (["remove"], "ID is missing"),
    (["remove", "a", "--contracts"], "--contracts"),
    (["compile-server"], "--contracts needs a value"),
], ids=lambda v: " ".join(v) if isinstance(v, list) else None)
def test_wrong_usage_exits_2_and_says_what(args, words):
    r = tana(*args)
    assert (r.returncode, r.stdout) == (2, "")
    assert r.stderr.startswith("tana: ") and words in r.stderr and r.stderr.count("\n") == 1


def test_help_and_version_exit_0():
    commands = re.findall(r"^(?:usage:)? +tana ([a-z-]+) ", tana("help").stdout, re.M)
    assert {"compile", "deploy", "versions", "rollback", "remove"} <= set(commands)
    for args in (["help"], ["--help"], *([c, "--help"] for c in commands), ["deploy", "a", "-h"]):
        r = tana(*args)
        assert (r.returncode, r.stderr) == (0, "") and r.stdout.startswith("usage: tana ")
    r = tana("version")
    assert r.returncode == 0 and re.match(r"tana \d+\.\d+\.\d+ \(esbuild .*, SWC .*, Node\.js .*\)\n$", r.stdout)


def test_the_manual_page_has_every_command_and_option():
    page = (SOURCE / "worker/toolchain/tana.1").read_text()
    main = (SOURCE / "worker/toolchain/main.js").read_text()
    commands = dict(re.findall(r'^\t"?([a-z-]+)"?: \{\n(.*?)^\t\},$', main, re.M | re.S))
    assert {"new", "run", "dev", "compile", "deploy", "versions", "rollback", "remove", "compile-server"} <= set(commands)
    synopsis, _, rest = page.partition(".Sh DESCRIPTION")
    for name, text in commands.items():
        assert re.search(rf"^\.Cm {name}\b", synopsis, re.M) and re.search(rf"^\.It Cm {name}\b", rest, re.M), name
        part = re.split(r"^\.Nm$", synopsis, flags=re.M)
        part = next(p for p in part if re.search(rf"^\.Cm {name}( |$)", p, re.M))
        usage = tana(name, "--help").stdout
        for option in re.findall(r'^\t\t\t"?([a-z-]+)"?: ', text, re.M):
            flag = "Fl o" if option == "output" else f"Fl -{option}"
            assert flag in part, (name, option)
            assert ("-o" if option == "output" else f"--{option}") in usage, (name, option)


def test_missing_things_are_named(tmp_path):
    for args, words in (
            (["compile", "nope.ts"], "nope.ts: ENOENT"),
            (["compile", "."], "has none of get, post, contract"),
            (["deploy", "get.ts", "--id", "x", "--contracts", "none"], "none: error: no such directory")):
        if "get.ts" in args:
            write(tmp_path, {"get.ts": "export const get = () => 1;"})
        r = tana(*args, cwd=tmp_path)
        assert r.returncode == 1 and words in r.stderr, r.stderr


# -- deploy -------------------------------------------------------------------------

def served(contracts, name):
    """What the server would read now: as it does, through one open directory."""
    fd = os.open(Path(contracts) / name, os.O_RDONLY | os.O_DIRECTORY)
    try:
        out = {}
        for file in ("get.js", "post.js", "contract.js", "contract.json", "get.ts", "post.ts", "contract.ts"):
            try:
                st = os.stat(file, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            assert stat.S_ISREG(st.st_mode) and st.st_mode & 0o444 == 0o444
            with open(os.open(file, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=fd)) as f:
                out[file] = f.read()
        return out
    finally:
        os.close(fd)


def leftovers(contracts):
    return [p for p in Path(contracts).rglob(".*") if p.name not in (".versions", ".lock", ".history")]


@pytest.mark.parametrize("name", sorted(p.name for p in EXAMPLES.iterdir() if p.is_dir()))
def test_example_can_be_deployed(tmp_path_factory, name):
    contracts = tmp_path_factory.getbasetemp() / "examples"
    contracts.mkdir(exist_ok=True)
    r = tana("deploy", EXAMPLES / name, "--contracts", contracts)
    assert (r.returncode, r.stderr) == (0, "")
    files = served(contracts, name)
    assert {f.replace(".ts", ".js") for f in os.listdir(EXAMPLES / name) if f in ("get.ts", "post.ts", "contract.ts")} <= set(files)
    assert ("contract.json" in files) == (EXAMPLES / name / "contract.json").exists()
    assert not [f for f in files if f.endswith(".ts")]


def run_deployed(directory, *args):
    files = [f"{f}={Path(directory) / f}" for f in os.listdir(directory) if f.endswith(".js")]
    return subprocess.run([WORKER, "--run", *files, *args], capture_output=True, text=True, timeout=120)


def test_deployed_contract_answers(contracts, tmp_path):
    write(tmp_path / "shop", {
        "get.ts": "import { price } from './lib/price'; export const Get = async (req: any) => ({ price: price(req.query.of), owner: req.tana.contract.owner });",
        "post.ts": "export function Post(req: any, body: { n: number }) { return { twice: body.n * 2 }; }",
        "lib/price.ts": "const prices = { tea: 3 }; export const price = (of: keyof typeof prices) => prices[of] ?? 0;",
        "contract.json": '{"name": "shop", "author": "ann"}'})
    r = tana("deploy", "shop", "--contracts", contracts, cwd=tmp_path)
    assert (r.returncode, r.stderr) == (0, "")
    assert re.match(r"shop: version [0-9a-f]{16} \(get, post\)\n$", r.stdout)
    link = os.readlink(contracts / "shop")
    assert re.match(r"^\.versions/shop/[0-9a-f]{16}$", link)
    got = run_deployed(contracts / "shop", "--query", "of=tea", "--meta", '{"owner":"ann"}')
    assert json.loads(json.loads(got.stdout)["body"]) == {"price": 3, "owner": "ann"}
    got = run_deployed(contracts / "shop", "--method", "POST", "--body", '{"n":4}', "--header", "content-type: application/json")
    assert json.loads(json.loads(got.stdout)["body"]) == {"twice": 8}
    assert (contracts / "shop/src/lib/price.ts").read_text() == (tmp_path / "shop/lib/price.ts").read_text()
    assert leftovers(contracts) == []


def test_single_file_is_a_contract_named_after_it(contracts, tmp_path):
    write(tmp_path, {"greet.ts": "export const get = () => 'hi'; export function post() { return 1; }"})
    r = tana("deploy", tmp_path / "greet.ts", "--contracts", contracts)
    assert r.returncode == 0, r.stderr
    assert set(served(contracts, "greet")) == {"contract.js"}


@pytest.mark.parametrize("name, ok", [
    ("0", True), ("a-1" * 21, True),
    ("a" * 64, False), ("A", False), ("a_b", False), ("a.b", False), ("-a", False), ("a-", False), ("../a", False), ("a/b", False), ("ä", False), ("a\n", False),
])
def test_identifier_rule(contracts, tmp_path, name, ok):
    write(tmp_path, {"x.ts": "export const get = () => 1;"})
    r = tana("deploy", tmp_path / "x.ts", f"--id={name}", "--contracts", contracts)
    assert r.returncode == (0 if ok else 1)
    assert ok or "no identifier of a contract" in r.stderr
    assert os.listdir(contracts) == [] or ok


REFUSED = {
    "no handler": ({"get.ts": "export const foo = 1;"}, "no handler is exported"),
    "handler of the other file": ({"get.ts": "export const post = () => 1;"}, "exports neither Get nor get"),
    "handler is no function": ({"get.ts": "export const Get = 1;"}, "not a function"),
    "throws while loaded": ({"get.ts": "// a comment\ninterface I {}\nexport const Get = () => 1;\nconst n: any = null;\nn.x;\n"}, "get.ts:5: error: TypeError"),
    "throws its own error while loaded": (
        {"get.ts": "import { f } from './lib';\nf();\nexport const Get = () => 1;", "lib.ts": "class E extends Error {}\nexport function f() {\n\tthrow new E('own');\n}"},
        "lib.ts:3: error: Error: own"),
    "name that the runtime lacks": ({"get.ts": "export const Get = () => {\n\treturn notThere(1);\n};"}, "get.ts:2:9: error: notThere is not available"),
    "regexp that the runtime lacks": ({"get.ts": "export const Get = () =>\n\t/(?<=a)b/.test('ab');"}, "get.ts:2:2: error: the runtime does not understand this regular expression"),
    "eats memory while loaded": ({"get.ts": "const a: any[] = []; for (;;) a.push(new Array(1000).fill(a.length));\nexport const Get = () => a;"}, "more memory than it may"),
    "bad contract.json": ({"get.ts": "export const Get = () => 1;", "contract.json": '{\n"name": "x",\n}'}, "contract.json:3:1: error: not JSON"),
    "contract.json is no object": ({"get.ts": "export const Get = () => 1;", "contract.json": "[]"}, "not a JSON object"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_bad_contract_is_refused_and_the_old_version_stays(tmp_path_factory, what):
    files, words = REFUSED[what]
    base = tmp_path_factory.getbasetemp() / "refused"
    contracts = base / "contracts"
    if not contracts.exists():
        contracts.mkdir(parents=True)
        write(base / "good", {"get.ts": "export const Get = () => 'good';"})
        assert tana("deploy", base / "good", "--id", "it", "--contracts", contracts).returncode == 0
    before = os.readlink(contracts / "it"), served(contracts, "it")
    directory = write(base / re.sub("[^a-z]+", "-", what), files)
    r = tana("deploy", directory, "--id", "it", "--contracts", contracts)
    assert r.returncode == 1
    assert words in r.stderr
    assert (os.readlink(contracts / "it"), served(contracts, "it")) == before
    assert leftovers(contracts) == []


INIT = "import { console } from 'tana/core'; export function init() { console.log('first time'); } export const get = () => %d;"


def test_init_runs_at_the_first_deployment_only(contracts, tmp_path):
    def deploy(n):
        write(tmp_path, {"c.ts": INIT % n})
        r = tana("deploy", tmp_path / "c.ts", "--contracts", contracts)
        assert r.returncode == 0, r.stderr
        return "init: info: first time" in r.stderr

    assert [deploy(1), deploy(1), deploy(2), deploy(1)] == [True, False, False, False]
    r = tana("rollback", "c", "--contracts", contracts)
    assert (r.returncode, r.stderr) == (0, "")
    assert tana("remove", "c", "--contracts", contracts, "--keep-versions").returncode == 0
    assert deploy(2)
    assert tana("remove", "c", "--contracts", contracts).returncode == 0
    assert deploy(2)


def test_init_that_fails_fails_the_first_deployment_and_is_tried_again(contracts, tmp_path):
    write(tmp_path, {"c/get.ts": "export const Get = () => 1;", "c/contract.ts": "export async function init() { await null; throw new Error('not today'); }"})
    r = tana("deploy", tmp_path / "c", "--contracts", contracts)
    assert r.returncode == 1 and "init failed, nothing was changed: Error: not today" in r.stderr
    write(tmp_path, {"c.ts": "import { data } from 'tana/data'; export const get = () => 1;\nexport async function init() { await data.set('a', 1); await data.commit(); }"})
    for _ in range(2):
        r = tana("deploy", tmp_path / "c.ts", "--contracts", contracts)
        assert r.returncode == 1
        assert "init failed, nothing was changed: Error: there is no server here to ask" in r.stderr and "without the server's storage" in r.stderr
        assert not (contracts / "c").is_symlink() and leftovers(contracts) == []
    assert tana("versions", "c", "--contracts", contracts).returncode == 1
    write(tmp_path, {"c.ts": INIT % 1})
    assert "first time" in tana("deploy", tmp_path / "c.ts", "--contracts", contracts).stderr


def test_a_directory_that_was_not_deployed_is_left_alone_unless_forced(contracts, tmp_path):
    write(contracts / "c", {"get.js": "exports.Get = function () { return 'by hand'; };"})
    write(tmp_path, {"c.ts": "export const get = () => 1;"})
    r = tana("deploy", tmp_path / "c.ts", "--contracts", contracts)
    assert r.returncode == 1 and "--force" in r.stderr
    assert "by hand" in (contracts / "c/get.js").read_text()
    r = tana("deploy", tmp_path / "c.ts", "--contracts", contracts, "--force")
    assert r.returncode == 0, r.stderr
    assert set(served(contracts, "c")) == {"contract.js"}
    moved = list((contracts / ".versions/c").glob("replaced-*"))
    assert len(moved) == 1 and "by hand" in (moved[0] / "get.js").read_text()


def versions(contracts, name):
    return {p.name for p in (contracts / ".versions" / name).iterdir() if VERSION.match(p.name)}


def test_the_newest_versions_are_kept_and_young_ones_longer(contracts, tmp_path):
    def deploy(text, *args):
        write(tmp_path, {"c.ts": f"export const get = () => '{text}';"})
        r = tana("deploy", tmp_path / "c.ts", "--contracts", contracts, *args)
        assert r.returncode == 0, r.stderr
        return Path(os.readlink(contracts / "c")).name

    store = contracts / ".versions/c"
    first = deploy("first")
    made = [f"{i:016x}" for i in range(12)]
    for i, name in enumerate(made):
        shutil.copytree(store / first, store / name)
        os.utime(store / name, (1000 + i, 1000 + i))
    (store / ".new-dead").mkdir()
    os.utime(store / ".new-dead", (1000, 1000))
    second = deploy("second")
    assert versions(contracts, "c") == {second, first, *made[-8:]}
    assert leftovers(contracts) == []
    # first is seconds old: the server may be reading it still.
    third = deploy("third", "--keep", "1")
    assert versions(contracts, "c") == {third, second, first}
    # The version before the present one is kept, however old: a rollback asks for it.
    for name in (first, second, third):
        os.utime(store / name, (2000, 2000))
    fourth = deploy("fourth", "--keep", "1")
    assert versions(contracts, "c") == {fourth, third}
    assert "fourth" in served(contracts, "c")["contract.js"]


def test_an_edited_version_is_not_taken_for_what_was_deployed(contracts, tmp_path):
    write(tmp_path, {"c.ts": "export const get = () => 'original';"})
    assert tana("deploy", tmp_path / "c.ts", "--contracts", contracts).returncode == 0
    (contracts / "c/contract.js").write_text("exports.get = function () { return 'edited'; };")
    assert tana("deploy", tmp_path / "c.ts", "--contracts", contracts).returncode == 0
    assert "original" in served(contracts, "c")["contract.js"]


def test_readers_always_find_one_whole_version_while_deployments_race(contracts, tmp_path):
    marks = [f"mark{i}" for i in range(5)]
    for mark in marks:
        write(tmp_path / mark, {"get.ts": f"export const Get = () => '{mark}';", "post.ts": f"export const Post = () => '{mark}';",
                                "contract.json": json.dumps({"name": mark})})
    assert tana("deploy", tmp_path / marks[0], "--id", "c", "--contracts", contracts).returncode == 0
    stop, seen, wrong = threading.Event(), set(), []

    def read():
        while not stop.is_set():
            try:
                files = served(contracts, "c")
                found = {m for m in marks for text in files.values() if m in text}
                if len(found) != 1 or len(files) != 3:
                    wrong.append(files)
                seen.update(found)
            except OSError as e:
                wrong.append(e)
            time.sleep(0.0005)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        racing = [subprocess.Popen([TANA, "deploy", str(tmp_path / m), "--id", "c", "--contracts", str(contracts)],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for m in marks[1:]]
        ends = [(p.communicate(timeout=120)[1], p.returncode) for p in racing]
    finally:
        stop.set()
        reader.join()
    assert ends == [("", 0)] * 4
    assert wrong == []
    assert marks[0] in seen
    assert marks[0] not in served(contracts, "c")["get.js"]
    assert len(versions(contracts, "c")) == 5
    assert leftovers(contracts) == []


@pytest.mark.parametrize("held_by, where", [("for (;;);", "--check"), ("export function init() { for (;;); }", "init")])
def test_a_deployment_killed_on_its_way_leaves_the_old_version_and_no_lock(contracts, tmp_path, held_by, where):
    """Killed while it checks, with another version serving; and in init, at first, which runs under the lock."""
    old = where == "--check"
    write(tmp_path, {"c.ts": "export const get = () => 'old';"})
    assert not old or tana("deploy", tmp_path / "c.ts", "--contracts", contracts).returncode == 0
    write(tmp_path, {"c.ts": f"export const get = () => 'new'; {held_by}"})
    p = subprocess.Popen([TANA, "deploy", str(tmp_path / "c.ts"), "--contracts", str(contracts)], stderr=subprocess.DEVNULL)
    worker = None
    try:
        worker = until("it is held", lambda: next((c.pid for c in descendants(p.pid) if where in c.argv), None))
    finally:
        p.kill()
        p.wait()
        if worker is not None:
            os.kill(worker, signal.SIGKILL)
    assert "old" in served(contracts, "c")["contract.js"] if old else not (contracts / "c").is_symlink()
    write(tmp_path, {"c.ts": "export const get = () => 'newer';"})
    r = tana("deploy", tmp_path / "c.ts", "--contracts", contracts)
    assert r.returncode == 0, r.stderr
    assert "newer" in served(contracts, "c")["contract.js"]


def in_namespace(script):
    """A shell with mounts of its own; None where the system forbids that."""
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-e", "-c"]
    if subprocess.run([*command, "mount -t tmpfs none /mnt"], capture_output=True).returncode != 0:
        return None
    return subprocess.run([*command, script], capture_output=True, text=True, timeout=120)


def test_a_full_disk_leaves_the_old_version_serving(contracts, tmp_path):
    write(tmp_path, {"old/get.ts": "export const Get = () => 'old';",
                     "new/get.ts": f"export const Get = () => 'new {'x' * 300000}';"})
    r = in_namespace(f"""
        mount -t tmpfs -o size=256k none {contracts}
        {TANA} deploy {tmp_path}/old --id c --contracts {contracts} >/dev/null
        {TANA} deploy {tmp_path}/new --id c --contracts {contracts} || echo "status $?"
        grep -c old {contracts}/c/get.js; find {contracts}/.versions -name '.new-*'""")
    if r is None:
        pytest.skip("no mounts of one's own here")
    assert r.returncode == 0 and "ENOSPC" in r.stderr
    assert r.stdout == "status 1\n1\n"


def test_a_directory_that_cannot_be_written_to_is_named(contracts, tmp_path):
    write(tmp_path, {"c.ts": "export const get = () => 1;"})
    r = in_namespace(f"mount -t tmpfs -o ro none {contracts}\n{TANA} deploy {tmp_path}/c.ts --contracts {contracts}")
    if r is None:
        pytest.skip("no mounts of one's own here")
    assert r.returncode == 1
    assert "EROFS" in r.stderr and str(contracts) in r.stderr and "This is an error of tana" not in r.stderr


def test_deployments_under_load_lose_no_request_and_serve_the_new_version(start, tmp_path):
    server = start(contracts={}, skip_transpile=True)

    def deploy(text):
        write(tmp_path, {"c.ts": f"export const get = () => '{text}';"})
        r = tana("deploy", tmp_path / "c.ts", "--contracts", server.contracts, "--reload", server.run_dir / "control.sock")
        assert (r.returncode, r.stderr) == (0, "")

    deploy("mark0")
    stop, answers = threading.Event(), []

    def ask():
        while not stop.is_set():
            answer = server.get("/c")
            answers.append((answer.status, answer.json() if answer.status == 200 else answer.text))

    clients = [threading.Thread(target=ask) for _ in range(2)]
    for client in clients:
        client.start()
    try:
        for i in range(1, 4):
            deploy(f"mark{i}")
            # --reload returns when the new version serves.
            assert server.get("/c").json() == f"mark{i}"
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert {status for status, _ in answers} == {200}
    assert {text for _, text in answers} <= {f"mark{i}" for i in range(4)}
    assert len({text for _, text in answers}) > 1


def test_a_server_that_cannot_be_told_is_an_error(contracts, tmp_path):
    write(tmp_path, {"c.ts": "export const get = () => 1;"})
    r = tana("deploy", tmp_path / "c.ts", "--contracts", contracts, "--reload", tmp_path / "none.sock")
    assert r.returncode == 1 and "deployed, but the server was not told" in r.stderr
    assert "contract.js" in served(contracts, "c")


# -- the list of modules --------------------------------------------------------------

def test_the_compilers_modules_are_the_runtimes(tmp_path):
    text = (SOURCE / "worker/toolchain/modules.js").read_text()
    names = json.loads(re.search(r"names = (\[.*?\])", text).group(1))
    write(tmp_path, {"get.js": "".join(f"require('tana/{n}'); require('tana:{n}');" for n in names) + "exports.get = function () {};",
                     "bad.js": "require('tana/foo'); exports.get = function () {};"})
    good = subprocess.run([WORKER, "--check", "--json", f"get.js={tmp_path}/get.js"], capture_output=True, text=True, timeout=60)
    assert json.loads(good.stdout)["ok"] is True, good.stdout
    bad = subprocess.run([WORKER, "--check", "--json", f"get.js={tmp_path}/bad.js"], capture_output=True, text=True, timeout=60)
    assert json.loads(bad.stdout)["ok"] is False
