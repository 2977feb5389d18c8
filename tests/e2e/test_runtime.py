"""The runtime that every heap begins with: what a contract finds there, and what
becomes of what it does.  Each request meets a heap as it was after loading."""

import json
import os
import subprocess
import time

import pytest

from zygote_harness import BUILD, REUSE, Zygote

TOOL = os.path.join(BUILD, "tana-worker")
SYSTEM_DUKTAPE = "system library" in subprocess.run(
    [TOOL, "--version"], capture_output=True, text=True, check=True).stdout
LEVELS = ["error", "warn", "info", "debug"]


class Answer:
    def __init__(self, reply, logs):
        self.raw = reply
        self.fault = None if reply.fault_name == "NONE" else reply.fault_name
        self.status = reply["status"]
        self.message = reply["message"]
        self.body = reply["body"].decode()
        self.headers = list(zip(reply["headers"][::2], reply["headers"][1::2]))
        self.log = [f"{LEVELS[f['level']]}: {f['text']}" for f in logs]

    @property
    def json(self):
        assert self.fault is None, self.raw
        assert ("content-type", "application/json") in self.headers, self.headers
        return json.loads(self.body)


def settle(worker, id):
    """To the reply, asleep when the request is."""
    logs = []
    while True:
        frame = worker.receive()
        if frame.type == "log":
            logs.append(frame)
        elif frame.type == "sleep":
            time.sleep(min(frame["ms"], 1000) / 1000)
            worker.send("wake", id=id)
        else:
            assert frame.type == "reply" and frame["id"] == id, frame
            return Answer(frame, logs)


@pytest.fixture(scope="module")
def zygote():
    z = Zygote()
    assert z.failed is None, z.failed
    yield z
    z.close()


@pytest.fixture(scope="module")
def image(zygote):
    """image(files, meta): a contract loaded, once."""
    made = {}

    def load(files, meta):
        key = json.dumps([files, meta])
        if key not in made:
            made[key] = zygote.image(None, files=files, meta=meta)
        return made[key]

    return load


@pytest.fixture(scope="module")
def run(zygote, image):
    """run(source or {name: source}, ...): answer one request, in a worker of its own."""
    def call(sources, headers=(), function=None, method="GET", path="/", query="", body=None,
             ip="127.0.0.1", contract="run", meta="", block="", caller="", input=""):
        if isinstance(sources, str):
            sources = {"contract.js": sources}
        im = image([text for pair in sources.items() for text in pair], meta)
        if function is None:
            function = ("fetch" if "fetch" in im.built["exports"] else
                        "get" if method in ("GET", "HEAD") else "post")
        flat = [part for h in headers for part in h.split(": ", 1)]
        worker = zygote.spawn()
        try:
            assert worker.receive().type == "ready"
            id = worker.post(
                im, function=function, method=method, path=path, query=query, ip=ip,
                url=f"http://localhost:8180{path}" + (f"?{query}" if query else ""),
                headers=[h.lower() if i % 2 == 0 else h for i, h in enumerate(flat)],
                body=(body or "").encode(), contract=contract, meta=meta, block=block,
                caller=caller, input=input)
            return settle(worker, id)
        finally:
            worker.close()
    return call


@pytest.fixture
def check(tmp_path):
    """What tana-worker --check says, as a deployment hears it."""
    def call(sources, *args):
        if isinstance(sources, str):
            sources = {"contract.js": sources}
        files = []
        for name, text in sources.items():
            (tmp_path / name).write_text(text, encoding="utf-8")
            files.append(f"{name}={tmp_path / name}")
        done = subprocess.run([TOOL, "--check", *files, *args], capture_output=True, text=True,
                              timeout=120, check=False)
        assert done.returncode in (0, 1), (done.returncode, done.stderr)
        said = json.loads(done.stdout)
        assert said["ok"] == (done.returncode == 0)
        return said
    return call


def handler(body):
    return "exports.get = function (req) {\n" + body + "\n};"


# -- what stands in a heap: one process for a whole table ----------------------

def table(cases):
    """Evaluate each expression in one request; name -> value, or 'threw ...'."""
    lines = ["exports.get = function (req) { var out = {}, pending = [];",
             "function put(name, fn) { try { var v = fn(); if (v && typeof v.then === 'function')",
             "  pending.push(v.then(function (x) { out[name] = x; }, function (e) { out[name] = 'threw ' + e; }));",
             "  else out[name] = v; } catch (e) { out[name] = 'threw ' + e; } }"]
    for name, (expression, _) in cases.items():
        lines.append(f"put({json.dumps(name)}, function () {{ {expression} }});")
    lines.append("return Promise.all(pending).then(function () { return out; }); };")
    return "\n".join(lines)


LANGUAGE = {
    "Promise reactions run in order": (
        "var o = []; setTimeout(function () { o.push('t'); }, 0);"
        "queueMicrotask(function () { o.push('m'); });"
        "Promise.resolve().then(function () { o.push('p'); }).then(function () { o.push('q'); });"
        "queueMicrotask(function () { o.push('n'); }); o.push('s');"
        "return new Promise(function (r) { setTimeout(function () { r(o.join('')); }, 5); });", "smpnqt"),
    "Map and Set iterate": ("return Array.from(new Map([[1, 'a']])).concat(Array.from(new Set([2, 2])));", [[1, "a"], 2]),
    "Symbol.asyncIterator exists": ("return String(Symbol.asyncIterator.toString());", "Symbol(Symbol.asyncIterator)"),
    "Object.fromEntries": ("return Object.fromEntries([['a', 1]]);", {"a": 1}),
    "Array.prototype.flat": ("return [1, [2, [3]]].flat(Infinity);", [1, 2, 3]),
    "String code points": ("return [Array.from('a😀').length, '😀'.codePointAt(0)];", [2, 0x1f600]),
    "structuredClone keeps kinds": (
        "var c = structuredClone({ m: new Map([[1, 2]]), d: new Date(5) });"
        "return [c.m.get(1), c.d.getTime()];", [2, 5]),
    "structuredClone refuses a function": ("structuredClone(function () {});",
                                           "threw DataCloneError: Uncloneable type: Function"),
    "Reflect.get honours the receiver": (
        "return Reflect.get({ get a() { return this.b; } }, 'a', { b: 3 });", 3),
    "Reflect.set honours the receiver": (
        "var r = {}; Reflect.set({ set a(v) { this.b = v; } }, 'a', 4, r); return r.b;", 4),
    "Reflect.construct makes a real Date of a subclass": (
        "function D() {} D.prototype = Object.create(Date.prototype);"
        "var d = Reflect.construct(Date, [7], D); return [d instanceof D, d.getTime()];", [True, 7]),
    "Reflect.construct makes a real Array of a subclass": (
        "function A() {} A.prototype = Object.create(Array.prototype);"
        "var a = Reflect.construct(Array, [], A); a.push(1); return [a instanceof A, a.length, Array.isArray(a)];",
        [True, 1, True]),
    "Reflect.construct makes an Error of a subclass": (
        "function E() {} E.prototype = Object.create(Error.prototype);"
        "var e = Reflect.construct(Error, ['m'], E); return [e instanceof E, e instanceof Error, e.message];",
        [True, True, "m"]),
    "Error takes a cause": ("return new TypeError('m', { cause: 5 }).cause;", 5),
    "Error without cause has none": ("return 'cause' in new Error('m');", False),
    "Error constructors are related": (
        "return [Object.getPrototypeOf(TypeError) === Error, new RangeError('') instanceof Error,"
        "TypeError.name, Error('x').message];", [True, True, "TypeError", "x"]),
    "native errors are of the public constructors": (
        "try { null.x; } catch (e) { return [e instanceof TypeError, e.constructor === TypeError]; }", [True, True]),
    "stack begins at the line that made the error": (
        "return new Error('here').stack.split('\\n')[1].indexOf('contract.js') > 0;", True),
    "Error.captureStackTrace gives an object a stack": (
        "var o = { name: 'N', message: 'm' }; Error.captureStackTrace(o); return o.stack.split('\\n')[0];", "N: m"),
    "Proxy traps get text keys": (
        "var k = []; var p = new Proxy([], { get: function (t, n) { k.push(typeof n); return 1; } });"
        "p[0]; p.a; return k;", ["string", "string"]),
    "Proxy without traps is transparent": (
        "var p = new Proxy([1, 2], {}); p.a = 3; return [p.length, 1 in p, delete p[0], Object.keys(p), p.a];",
        [2, True, True, ["1", "a"], 3]),
    "Proxy passes a property's definition to its target": (
        "var t = {}, p = new Proxy(t, {}); Object.defineProperty(p, 'a', { value: 1, enumerable: true });"
        "return [t.a, Object.getOwnPropertyDescriptor(p, 'a').value, p.hasOwnProperty('a'), Object.entries(p)];",
        [1, 1, True, [["a", 1]]]),
    "Proxy passes Reflect.set to its target": (
        "var t = {}, p = new Proxy(t, { set: function (o, k, v, r) { return Reflect.set(o, k, v + 1, r); } });"
        "p.a = 1; return t.a;", 2),
    "Proxy has the traps that Duktape lacks": (
        "var o = [], h = {}; ['getOwnPropertyDescriptor', 'defineProperty', 'getPrototypeOf', 'setPrototypeOf', 'isExtensible',"
        "'preventExtensions'].forEach(function (n) { h[n] = function () { o.push(n); return Reflect[n].apply(null, arguments); }; });"
        "var p = new Proxy({ a: 1 }, h); Object.getOwnPropertyDescriptor(p, 'a'); Object.defineProperty(p, 'b', { value: 1 });"
        "Object.getPrototypeOf(p); Object.setPrototypeOf(p, null); Object.isExtensible(p); Object.preventExtensions(p); return o.length;", 6),
    "Proxy is seen through by a prototype's children": (
        "var c = Object.create(new Proxy({ a: 1 }, {})); c.b = 2;"
        "return [Object.getOwnPropertyDescriptor(c, 'b').value, Object.getOwnPropertyDescriptor(c, 'a') === undefined];", [2, True]),
    "Proxy of a function is called and constructed": (
        "var p = new Proxy(function (a) { this.a = a; }, { apply: function (t, s, a) { return a[0] + 1; } });"
        "return [p(1), new p(5).a];", [2, 5]),
    "Proxy.revocable revokes": (
        "var r = Proxy.revocable({ a: 1 }, {}), before = r.proxy.a; r.revoke();"
        "try { return r.proxy.a; } catch (e) { return [before, e instanceof TypeError]; }", [1, True]),
    "JSON.stringify escapes a lone surrogate": (
        "return JSON.stringify(['\\ud83d', '\\ude00x', '😀', 'é']);", '["\\ud83d","\\ude00x","😀","é"]'),
    "JSON.stringify has replacer and space": (
        "return JSON.stringify({ a: 1, b: 2 }, ['b'], 1);", '{\n "b": 2\n}'),
    "Date reads HTTP's three forms": (
        "return ['Sun, 06 Nov 1994 08:49:37 GMT', 'Sunday, 06-Nov-94 08:49:37 GMT', 'Sun Nov  6 08:49:37 1994'].map(Date.parse);",
        [784111777000] * 3),
    "Date reads what people write": (
        "return ['Nov 6, 1994', '11/6/1994', '1994/11/6 0:00', '6 Nov 1994 01:00 +0100', 'November 6, 1994 12:00 AM',"
        "'Sun Nov 06 1994 00:00:00 GMT+0000 (Coordinated Universal Time)'].map(Date.parse);", [784080000000] * 6),
    "Date reads no nonsense": (
        "return ['garbage', '2020-13-01', '2020-01-32', '13/13/2020', 'Jan 32 2020', '12:30', '', 'Jan 1 2020 25:00'].map(Date.parse);",
        [None] * 8),
    "Date is constructed from all that it takes": (
        "return [new Date('Sun, 06 Nov 1994 08:49:37 GMT').getTime(), new Date(2020, 1, 3, 4).toJSON(), new Date(new Date(5)).getTime(),"
        "new Date(null).getTime(), typeof Date(), Date.length, new Date(0) instanceof Date, new Date(0).constructor === Date];",
        [784111777000, "2020-02-03T04:00:00.000Z", 5, 0, "string", 7, True, True]),
    "Date writes the HTTP form": ("return new Date(1e12).toUTCString();", "Sun, 09 Sep 2001 01:46:40 GMT"),
    "Date writes the standard's form": (
        "return String(new Date(0));", "Thu Jan 01 1970 00:00:00 GMT+0000 (Coordinated Universal Time)"),
    "Date writes en-US": ("return new Date(1e12).toLocaleString('en-US');", "9/9/2001, 1:46:40 AM"),
    "Date that is none says so": ("return [String(new Date(NaN)), new Date(NaN).toUTCString()];",
                                  ["Invalid Date", "Invalid Date"]),
    "Date refuses what needs Intl": (
        "return new Date(0).toLocaleDateString('de', { month: 'long' });",
        "threw RangeError: toLocaleDateString: the option month is not available in this version of tana-edge"),
    "Number.toLocaleString groups": (
        "return [(1234567.891).toLocaleString('en-US'), (-1234.5).toLocaleString(), (0.5).toLocaleString("
        "'en-US', { style: 'percent' }), (1).toLocaleString('en-US', { minimumFractionDigits: 2 })];",
        ["1,234,567.891", "-1,234.5", "50%", "1.00"]),
    "normalize answers what it knows": ("return ['abc'.normalize(), 'é'.normalize('NFC')];", ["abc", "é"]),
    "normalize refuses what it does not know": (
        "'é'.normalize('NFD');",
        "threw RangeError: normalize('NFD') is available for ASCII text only in this version of tana-edge"),
    "no names that lie": (
        "return ['process', 'require', 'module', 'Deno', 'Bun', 'Buffer', 'CBOR', 'Duktape', '__host', 'window',"
        "'setImmediate', 'Observable', '__core-js_shared__'].filter(function (n) { return n in globalThis; });", []),
    "no names of the runtime's own": (
        "return Object.getOwnPropertyNames(globalThis).filter(function (n) { return /^(own|host|__)/.test(n); });", []),
    "new Function sees no module scope": ("return new Function('return typeof req')();", "undefined"),
}

WEB = {
    "URL resolves": ("return new URL('../x?y=1#z', 'http://h.example:80/a/b/c').href;", "http://h.example/a/x?y=1#z"),
    "URL takes the common form apart": (
        "var u = new URL('https://a.example:8443/b/c;d=1?e=f&g=%20#h');"
        "return [u.protocol, u.host, u.hostname, u.port, u.origin, u.pathname, u.search, u.hash, u.href];",
        ["https:", "a.example:8443", "a.example", "8443", "https://a.example:8443", "/b/c;d=1", "?e=f&g=%20", "#h",
         "https://a.example:8443/b/c;d=1?e=f&g=%20#h"]),
    "URL normalises what is not of the common form": (
        "return ['http://A/', 'http://a:80', 'http://a/b/../c', 'http://a/%2e%2E/d', 'http://0x7f.1/', 'http://a/x y?\\'', 'http://a/?#',"
        "'http://127.0.0.1:8180/x', 'http://u:p@h/'].map(function (t) { return new URL(t).href; });",
        ["http://a/", "http://a/", "http://a/c", "http://a/d", "http://127.0.0.1/", "http://a/x%20y?%27", "http://a/?#",
         "http://127.0.0.1:8180/x", "http://u:p@h/"]),
    "URL refuses what is none": (
        "return ['http://', 'http://a:70000/', 'http://256.1.1.1/', '//a', 'http://a b/'].filter(function (t) {"
        "return URL.canParse(t); });", []),
    "URL and its parameters follow each other": (
        "var u = new URL('http://h/p?a=1'), p = u.searchParams, o = []; p.append('b', 'ü'); o.push(u.search);"
        "u.search = '?z=9'; o.push(p.get('z'), p.get('a')); u.pathname = '/q'; p.set('z', '0'); o.push(u.href, p === u.searchParams); return o;",
        ["?a=1&b=%C3%BC", "9", None, "http://h/q?z=0", True]),
    "URL refuses": ("try { new URL('nope'); } catch (e) { return e instanceof TypeError; }", True),
    "URL writes hosts in ASCII": ("return new URL('http://exämple.com/').hostname;", "xn--exmple-cua.com"),
    "URL parts can be set": (
        "var u = new URL('http://a/b'); u.searchParams.set('q', 'ü'); u.pathname = '/c d'; return u.href;",
        "http://a/c%20d?q=%C3%BC"),
    "URLSearchParams decodes": (
        "var p = new URLSearchParams('a=1&b=%F0%9F%98%80+x&a=2'); return [p.getAll('a'), p.get('b'), p.get('z')];",
        [["1", "2"], "😀 x", None]),
    "URLSearchParams encodes": ("return String(new URLSearchParams({ q: 'ü 😀&' }));", "q=%C3%BC+%F0%9F%98%80%26"),
    "TextEncoder writes UTF-8": (
        "return Array.from(new TextEncoder().encode('a😀é'));", [97, 240, 159, 152, 128, 195, 169]),
    "TextEncoder replaces a lone surrogate": ("return Array.from(new TextEncoder().encode('\\ud83d'));", [239, 191, 189]),
    "TextEncoder.encodeInto stops at a character": (
        "var b = new Uint8Array(5), r = new TextEncoder().encodeInto('a😀é', b); return [r.read, r.written, b[0], b[4]];",
        [3, 5, 97, 128]),
    "TextDecoder reads UTF-8": (
        "var s = new TextDecoder().decode(new Uint8Array([240, 159, 152, 128, 195, 169])); return [s, s.length];",
        ["😀é", 3]),
    "TextDecoder drops the mark": ("return new TextDecoder().decode(new Uint8Array([239, 187, 191, 97])).length;", 1),
    "TextDecoder streams": (
        "var d = new TextDecoder(), a = d.decode(new Uint8Array([240, 159]), { stream: true });"
        "return [a, a + d.decode(new Uint8Array([152, 128]))];", ["", "😀"]),
    "TextDecoder can be strict": (
        "try { new TextDecoder('utf-8', { fatal: true }).decode(new Uint8Array([255])); }"
        "catch (e) { return e instanceof TypeError; }", True),
    "TextDecoder refuses other encodings": (
        "new TextDecoder('latin1');",
        "threw RangeError: TextDecoder: the encoding 'latin1' is not available in this version of tana-edge"),
    "atob and btoa": ("return [atob('aGk='), btoa('hi')];", ["hi", "aGk="]),
    "btoa refuses what is no byte": ("try { btoa('€'); } catch (e) { return e.name; }", "InvalidCharacterError"),
    "crypto.randomUUID": (
        "var a = crypto.randomUUID(); return [/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/"
        ".test(a), a !== crypto.randomUUID()];", [True, True]),
    "crypto.getRandomValues fills what it is given": (
        "var a = new Uint16Array(64), b = crypto.getRandomValues(a); return [a === b, a.some(function (x) { return x > 255; })];",
        [True, True]),
    "crypto.getRandomValues has a quota": (
        "try { crypto.getRandomValues(new Uint8Array(65537)); } catch (e) { return e.name; }", "QuotaExceededError"),
    "crypto.getRandomValues refuses floats": (
        "try { crypto.getRandomValues(new Float64Array(1)); } catch (e) { return e.name; }", "TypeMismatchError"),
    "Math.random varies within its range": (
        "var a = Math.random(), b = Math.random(); return a !== b && a >= 0 && a < 1;", True),
    "performance.now begins with the request": ("var t = performance.now(); return t >= 0 && t < 600000;", True),
    "Headers fold names and join values": (
        "var h = new Headers([['B', '1'], ['a', ' 2 '], ['b', '3']]);"
        "return [h.get('b'), h.has('A'), Array.from(h), h.get('c')];",
        ["1, 3", True, [["a", "2"], ["b", "1, 3"]], None]),
    "Headers set and delete": (
        "var h = new Headers({ a: 1, b: 2 }); h.set('A', '3'); h.delete('b'); h.append('a', 4); return Array.from(h.entries());",
        [["a", "3, 4"]]),
    "Headers keep cookies apart": (
        "var h = new Headers(); h.append('Set-Cookie', 'a=1'); h.append('set-cookie', 'b=2');"
        "return [h.getSetCookie(), Array.from(h).length];", [["a=1", "b=2"], 2]),
    "Headers refuse a line break": (
        "try { new Headers({ a: 'b\\r\\nc: d' }); } catch (e) { return e instanceof TypeError; }", True),
    "Headers refuse a bad name": ("try { new Headers({ 'a b': '1' }); } catch (e) { return e instanceof TypeError; }", True),
    "Headers.forEach": (
        "var o = []; new Headers({ a: '1', b: '2' }).forEach(function (v, k) { o.push(k + v); }); return o;", ["a1", "b2"]),
    "Request has a method, a URL, a body": (
        "var r = new Request('http://a/b?c=1', { method: 'post', body: 'x' });"
        "return r.text().then(function (t) { return [r.method, r.url, r.path, r.query, t, r.bodyUsed, r.headers.get('content-type')]; });",
        ["POST", "http://a/b?c=1", "/b", {"c": "1"}, "x", True, "text/plain;charset=UTF-8"]),
    "Request refuses a GET with a body": (
        "try { new Request('http://a/', { body: 'x' }); } catch (e) { return e instanceof TypeError; }", True),
    "Response reads back": (
        "var r = new Response('{\"a\":1}', { status: 201, headers: { 'X-A': 'b' } });"
        "return r.json().then(function (j) { return [r.status, r.ok, j, r.headers.get('x-a'), r.bodyUsed]; });",
        [201, True, {"a": 1}, "b", True]),
    "Response is read once": (
        "var r = new Response('x'); return r.text().then(function () { return r.text(); });",
        "threw TypeError: Body is unusable: Body has already been read"),
    "Response.clone is read apart": (
        "var r = new Response('x'), c = r.clone(); return Promise.all([r.text(), c.text()]);", ["x", "x"]),
    "Response keeps bytes, not the caller's buffer": (
        "var b = new Uint8Array([1, 2]), r = new Response(b); b[0] = 9;"
        "return r.arrayBuffer().then(function (a) { return Array.from(new Uint8Array(a)); });", [1, 2]),
    "Response.redirect": (
        "var r = Response.redirect('/x', 303); return [r.status, r.headers.get('location')];", [303, "/x"]),
    "AbortController": (
        "var c = new AbortController(), n = 0; c.signal.addEventListener('abort', function () { n++; }); c.abort(); c.abort();"
        "return [n, c.signal.aborted, c.signal.reason.name];", [1, True, "AbortError"]),
    "AbortSignal.timeout": (
        "var s = AbortSignal.timeout(1); return new Promise(function (r) { s.onabort = function () { r(s.reason.name); }; });",
        "TimeoutError"),
    "AbortSignal.any": (
        "var c = new AbortController(), s = AbortSignal.any([c.signal]); c.abort(7); return [s.aborted, s.reason];", [True, 7]),
    "EventTarget calls once, and not what was removed": (
        "var t = new EventTarget(), o = []; function f() { o.push('f'); } t.addEventListener('e', f);"
        "t.addEventListener('e', { handleEvent: function (e) { o.push(e.type); } }, { once: true });"
        "t.dispatchEvent(new Event('e')); t.removeEventListener('e', f); t.dispatchEvent(new Event('e')); return o;", ["f", "e"]),
    "Event can be cancelled": (
        "var t = new EventTarget(); t.addEventListener('e', function (e) { e.preventDefault(); });"
        "return [t.dispatchEvent(new Event('e', { cancelable: true })), t.dispatchEvent(new Event('e'))];", [False, True]),
    "CustomEvent carries a detail": ("return new CustomEvent('e', { detail: 5 }).detail;", 5),
    "classes may extend the Web's": (
        "function S() { return Reflect.construct(Response, arguments, S); } S.prototype = Object.create(Response.prototype);"
        "S.prototype.mine = function () { return this.status; }; return [new S('x', { status: 202 }).mine(), new S('x') instanceof Response];",
        [202, True]),
    "timers pass arguments": (
        "return new Promise(function (r) { setTimeout(function (a, b) { r([a, b]); }, 1, 'x', 2); });", ["x", 2]),
    "timers run by time, then by order": (
        "var o = []; setTimeout(function () { o.push('c'); }, 30); setTimeout(function () { o.push('a'); }, 0);"
        "setTimeout(function () { o.push('b'); }, 0); return new Promise(function (r) { setTimeout(function () { r(o.join('')); }, 60); });",
        "abc"),
    "timers can be cleared": (
        "var n = 0, id = setTimeout(function () { n++; }, 1); clearTimeout(id); clearTimeout(undefined); clearTimeout(99999);"
        "return new Promise(function (r) { setTimeout(function () { r(n); }, 20); });", 0),
    "setInterval repeats until cleared": (
        "var n = 0; return new Promise(function (r) { var id = setInterval(function () { if (++n === 3) { clearInterval(id); r(n); } }, 1); });", 3),
    "setTimeout refuses text": ("try { setTimeout('x'); } catch (e) { return e instanceof TypeError; }", True),
    "queueMicrotask refuses text": ("try { queueMicrotask('x'); } catch (e) { return e instanceof TypeError; }", True),
}

MODULES = {
    "every module by two names": (
        "return ['core', 'net', 'data', 'kv', 'block', 'tx', 'utils', 'context'].filter(function (n) {"
        "return require('tana/' + n) !== require('tana:' + n); });", []),
    "unknown module": ("require('tana/foo');", "threw Error: Cannot find module 'tana/foo'"),
    "no other module": ("require('fs');", "threw Error: Cannot find module 'fs'"),
    "no module by an inherited name": ("require('constructor');", "threw Error: Cannot find module 'constructor'"),
    "core": ("var c = require('tana/core'); return [c.console === console, Object.keys(c.version), typeof c.version.tana];",
             [True, ["tana", "duktape"], "string"]),
    "global tana": ("return [typeof tana.print, tana.version.duktape === require('tana/core').version.duktape];",
                    ["function", True]),
    "net": ("var n = require('tana/net'); return [n.Response === Response, n.Request === Request];", [True, True]),
    "Response.json with a status": (
        "var r = Response.json({ a: 1 }, 418); return [r.status, r.headers.get('content-type')];", [418, "application/json"]),
    "Response.json with init": (
        "var r = Response.json({}, { status: 201, headers: { a: 'b', 'content-type': 'application/x+json' } });"
        "return [r.status, r.headers.get('a'), r.headers.get('content-type')];", [201, "b", "application/x+json"]),
    "Response.text": (
        "var r = Response.text('hi', 404); return r.text().then(function (t) { return [t, r.status, r.headers.get('content-type')]; });",
        ["hi", 404, "text/plain;charset=UTF-8"]),
    "new Response with a status first": (
        "var r = new Response(201, 'made', { 'X-A': 'b' });"
        "return r.text().then(function (t) { return [r.status, t, r.headers.get('x-a')]; });", [201, "made", "b"]),
    "new Response with a status first and an object": (
        "var r = new Response(200, { a: 1 }); return r.text().then(function (t) { return [t, r.headers.get('content-type')]; });",
        ['{"a":1}', "application/json"]),
    "data's limits": (
        "var d = require('tana/data').data; return [d.MAX_KEY_SIZE, d.MAX_VALUE_SIZE, d.MAX_TOTAL_SIZE, d.MAX_KEYS];",
        [256, 10240, 102400, 1000]),
    "every data operation returns a promise": (
        "var d = require('tana/data').data; return Promise.all(['clear', 'set', 'get', 'has', 'keys', 'entries', 'delete', 'clear']"
        ".map(function (n) { var p = d[n]('k', 'v'); return p instanceof Promise ? p : 'no promise'; }))"
        ".then(function (l) { return JSON.stringify(l); });",
        '[null,null,"v",true,["k"],[["k","v"]],null,null]'),
    "kv rejects honestly": (
        "return require('tana:kv').kv.get('a');",
        "threw Error: kv.get: storage is not available in this version of tana-edge"),
    "fetch refuses other hosts": (
        "return require('tana/utils').fetch('https://evil.example/x');",
        'threw Error: fetch blocked: domain "evil.example" not in whitelist. Allowed domains: tana.dev'),
    "fetch is not fooled by a suffix": (
        "return require('tana/utils').fetch('https://eviltana.dev/');",
        'threw Error: fetch blocked: domain "eviltana.dev" not in whitelist. Allowed domains: tana.dev'),
    "fetch says that it cannot": (
        "return require('tana/utils').fetch('https://api.tana.dev/x');",
        "threw Error: fetch: outbound requests are not available in this version of tana-edge"),
    "block's batch limit comes first": (
        "var b = require('tana/block').block; return b.getBalance(new Array(11), 'USD');",
        "threw Error: Cannot query more than 10 balances at once"),
    "block's users and transactions have it too": (
        "var b = require('tana/block').block; function m(p) { return p.then(null, function (e) { return e.message; }); }"
        "return Promise.all([m(b.getUser(new Array(11))), m(b.getTransaction(new Array(11)))]);",
        ["Cannot query more than 10 users at once", "Cannot query more than 10 transactions at once"]),
    "block's queries say that there is no ledger": (
        "return require('tana/block').block.getUser('a');",
        "threw Error: block.getUser: the ledger is not available in this version of tana-edge"),
    "block's constant": ("return require('tana/block').block.MAX_BATCH_QUERY;", 10),
    "tx refuses a transfer to oneself": ("require('tana/tx').tx.transfer('a', 'a', 1, 'USD');",
                                         "threw Error: Cannot transfer to self"),
    "tx refuses zero": ("require('tana/tx').tx.transfer('a', 'b', 0, 'USD');", "threw Error: Amount must be positive"),
    "tx refuses a negative amount": ("require('tana/tx').tx.transfer('a', 'b', '-1', 'USD');",
                                     "threw Error: Amount must be positive"),
    "tx refuses what is no number": ("require('tana/tx').tx.transfer('a', 'b', NaN, 'USD');",
                                     "threw Error: Amount must be positive"),
    "tx refuses a negative balance": ("require('tana/tx').tx.setBalance('a', -1, 'USD');",
                                      "threw Error: Balance cannot be negative"),
}


@pytest.fixture(scope="module")
def evaluated(run):
    """The three tables' values, each table evaluated once."""
    done = {}

    def value(cases, name):
        if id(cases) not in done:
            done[id(cases)] = run(table(cases)).json
        return done[id(cases)].get(name)
    return value


@pytest.mark.parametrize("name", LANGUAGE)
def test_language(evaluated, name):
    assert evaluated(LANGUAGE, name) == LANGUAGE[name][1]


@pytest.mark.parametrize("name", WEB)
def test_web_api(evaluated, name):
    assert evaluated(WEB, name) == WEB[name][1]


@pytest.mark.parametrize("name", MODULES)
def test_module(evaluated, name):
    assert evaluated(MODULES, name) == MODULES[name][1]


# -- exports -------------------------------------------------------------------

@pytest.mark.parametrize("source,names", [
    ("exports.Get = function () {};", ["get"]),
    ("exports.get = function () {}; exports.post = function () {};", ["get", "post"]),
    ("exports.init = exports.contract = function () {};", ["init", "contract"]),
    ("exports.default = { fetch: function () {} };", ["fetch"]),
    ("module.exports = { Post: function () {} };", ["post"]),
    ("Object.defineProperty(exports, 'Get', { enumerable: true, get: function () { return h; } }); function h() {}", ["get"]),
    ("exports.Get = exports.get = function () {};", ["get"]),
    ("exports.get = function () {}; exports.other = 1;", ["get"]),
], ids=lambda v: v if isinstance(v, str) else "")
def test_exports_are_found(check, source, names):
    assert check(source)["exports"] == names


def test_files_are_merged(check, run):
    files = {"get.js": "exports.Get = function () { return 'g'; };",
             "post.js": "exports.Post = function (req, body) { return body; };"}
    assert check(files)["exports"] == ["get", "post"]
    assert run(files).json == "g"
    assert run(files, ["content-type: application/json"], method="POST", body="[1]").json == [1]


@pytest.mark.parametrize("source,text", [
    ("exports.foo = 1;", "no handler is exported"),
    ("exports.foo = 1;", "found: foo"),
    ("", "no handler is exported"),
    ("exports.get = 5;", "contract.js: the export get is not a function"),
    ("exports.default = { fetch: 1 };", "default.fetch is not a function"),
    ("exports.Get = function () {}; exports.get = function () {};", "both Get and get are exported"),
    ("module.exports = null;", "module.exports is not an object"),
])
def test_wrong_exports_are_named(check, source, text):
    a = check(source)
    assert text in a["error"] and "contract.js" in (a["file"] + a["error"])


def test_same_handler_in_two_files_is_refused(check):
    a = check({"get.js": "exports.Get = function () {};", "contract.js": "exports.get = function () {};"})
    assert "get is exported by get.js and by contract.js" in a["error"]


@pytest.mark.parametrize("source,line,text", [
    ("var a;\n\nrequire('tana/foo');", 3, "Cannot find module 'tana/foo'"),
    ("var a;\nnew Map(5);", 2, ""),
    ("function f() {\n new Headers({ 'a b': 1 });\n}\nf();", 2, "invalid header name"),
    ("\nthrow new RangeError('mine');", 2, "RangeError: mine"),
    ("\n\nnull.x;", 3, "TypeError"),
    ("var a;\nvar b = ;", 2, "SyntaxError"),
])
def test_failure_at_module_level_names_the_contracts_line(check, source, line, text):
    a = check(source)
    assert (a["file"], a["line"]) == ("contract.js", line)
    assert text in a["error"]


def test_module_level_promises_are_run(run):
    source = "var x = 0; Promise.resolve().then(function () { x = 1; });" + handler("return x;")
    assert run(source).json == 1


def test_module_level_timers_begin_with_the_request(run):
    source = "var x = 0; setTimeout(function () { x = 1; }, 5);" + handler(
        "var before = x; return new Promise(function (r) { setTimeout(function () { r([before, x]); }, 30); });")
    assert run(source).json == [0, 1]


def test_module_level_endless_loop_ends(check):
    if SYSTEM_DUKTAPE:
        pytest.skip("the system's Duktape has no check of the time; the signal is tested with workers")
    a = check("for (;;) {}", "--cpu-seconds", "1")
    assert "CPU time" in a["error"]


# -- requests ------------------------------------------------------------------

SHOW = """
exports.get = exports.contract = function (req) { return show(req); };
exports.post = function (req, body) { var s = show(req); s.arg = body; s.same = body === req.body; return s; };
function show(req) {
	return { url: req.url, method: req.method, path: req.path, query: req.query, params: req.params, ip: req.ip,
	    tana: req.tana, agent: req.headers.get('User-Agent'), body: req.body };
}
"""


def test_request_of_get(run):
    a = run(SHOW, ["User-Agent: t"], path="/a/b", query="x=1&x=2&y=%C3%BC+%F0%9F%98%80&z", ip="10.1.2.3", contract="c",
            meta='{"owner":"eva","name":"The C"}').json
    assert a == {"url": "http://localhost:8180/a/b?x=1&x=2&y=%C3%BC+%F0%9F%98%80&z", "method": "GET", "path": "/a/b",
                 "query": {"x": "1", "y": "ü 😀", "z": ""}, "params": {}, "ip": "10.1.2.3", "agent": "t", "body": None,
                 "tana": {"caller": None, "contract": {"id": "c", "owner": "eva", "name": "The C"}, "session": None}}


@pytest.mark.parametrize("query,found", [
    ("__proto__=x&constructor=y", {"__proto__": "x", "constructor": "y"}),
    ("a=%ff%zz", {"a": "\ufffd%zz"}),
    ("&&=1&a==b", {"": "1", "a": "=b"}),
])
def test_hostile_query_is_data(run, query, found):
    assert run(handler("return req.query;"), query=query).json == found


@pytest.mark.parametrize("path,params", [
    ("/users/7", {"id": "7"}),
    ("/users/a%20b/posts/%C3%BC", {"id": "a b", "post": "ü"}),
    ("/files/a/b%2fc/", {"*": "a/b/c"}),
    ("/users/%zz", {"id": "%zz"}),
    ("/users/__proto__", {"id": "__proto__"}),
    ("/users/7/other", {}), ("/", {}), ("/users", {}),
])
def test_params_are_what_a_route_names(run, path, params):
    meta = json.dumps({"routes": ["/users/:id", "/users/:id/posts/:post", "/files/*", 5]})
    assert run(handler("return req.params;"), path=path, meta=meta).json == params


@pytest.mark.parametrize("kind,body,seen", [
    ("application/json", '{"a":[1,"é😀"]}', {"a": [1, "é😀"]}),
    ("application/json; charset=utf-8", "5", 5),
    ("Application/Problem+JSON", '"x"', "x"),
    ("application/json", '{"__proto__":1}', {"__proto__": 1}),
    ("text/plain", '{"a":1}', '{"a":1}'),
    ("application/x-www-form-urlencoded", "a=1", "a=1"),
    ("text/plain", "é😀", "é😀"),
    (None, "plain", "plain"),
    ("application/json", "", None),
])
def test_body_of_post(run, kind, body, seen):
    a = run(SHOW, [f"content-type: {kind}"] if kind else [], method="POST", body=body).json
    assert (a["arg"], a["body"], a["same"]) == (seen, seen, True)


def test_invalid_json_is_refused_though_the_module_broke_the_globals(run):
    a = run("SyntaxError = TypeError = URIError = JSON = TextDecoder = undefined; exports.post = function () { return 1; };",
            ["content-type: application/json"], method="POST", body="{")
    assert a.fault == "BAD_JSON"


def test_other_bodies_are_bytes(run):
    source = "exports.post = function (req, body) { return [body instanceof Uint8Array, Array.from(body)]; };"
    a = run(source, ["content-type: application/octet-stream"], method="POST", body="é")
    assert a.json == [True, [0xc3, 0xa9]]


def test_body_can_be_read_as_a_web_request_too(run):
    source = """exports.post = function (req) {
	return Promise.all([req.clone().json(), req.clone().text(), req.clone().arrayBuffer()]).then(function (l) {
		return [l[0], l[1], l[2].byteLength];
	});
};"""
    a = run(source, ["content-type: application/json"], method="POST", body='["é"]')
    assert a.json == [["é"], '["é"]', 6]


@pytest.mark.parametrize("body", ['{"a":', "undefined", "{'a':1}", "[1]x", " "])
def test_invalid_json_never_reaches_the_contract(run, body):
    a = run("exports.post = function () { console.log('ran'); return 1; };", ["content-type: application/json"],
            method="POST", body=body)
    assert a.fault == "BAD_JSON"
    assert a.log == []


def test_method_without_handler(run):
    a = run("exports.get = function () { return 1; };", method="POST")
    assert a.fault == "METHOD"
    assert run(handler("return 1;"), function="constructor").fault == "METHOD"


def test_head_runs_get(run):
    assert run(handler("return req.method;"), method="HEAD").json == "HEAD"


FETCH = """
function App() { this.name = 'app'; }
App.prototype.fetch = function (request, env, ctx) {
	var self = this;
	return request.text().then(function (text) {
		return new Response([self.name, request.method, new URL(request.url).pathname, text, typeof env, typeof ctx.waitUntil].join(' '),
		    { status: 202 });
	});
};
exports.default = new App();
"""


def test_fetch_handler(run):
    a = run(FETCH, method="PUT", path="/p", body="{not json", headers=["content-type: application/json"])
    assert (a.status, a.body) == (202, "app PUT /p {not json object function")


def test_wait_until_delays_the_end(run):
    source = """exports.default = { fetch: function (req, env, ctx) {
	ctx.waitUntil(new Promise(function (r) { setTimeout(function () { console.log('waited'); r(); }, 5); }));
	return new Response('now');
} };"""
    a = run(source)
    assert a.body == "now" and a.log == ["info: waited"]


def test_wait_until_of_nothing_does_not_hang(run):
    a = run("exports.default = { fetch: function (req, env, ctx) { ctx.waitUntil(new Promise(function () {})); return new Response('x'); } };")
    assert a.body == "x" and "waitUntil" in a.log[0]


def test_init_and_contract_have_a_context(run):
    source = """var c = require('tana/context').context;
exports.init = function () { console.log(c.owner(), c.caller(), c.input(), c.block().height); };
exports.contract = function () { return [c.owner(), c.caller(), c.input()]; };"""
    meta = '{"owner":"eva"}'
    a = run(source, function="init", meta=meta, block='{"height":3}')
    assert (a.status, a.json, a.log) == (200, None, ["info: eva null null 3"])
    a = run(source, ["content-type: application/json"], function="contract", meta=meta, body='{"x":1}', method="POST")
    assert a.json == ["eva", None, {"x": 1}]
    a = run(source, ["content-type: application/json"], function="contract", meta=meta, body='{"x":1}', method="POST",
            caller='{"id":7}', input='[1,"two",null]')
    assert a.json == ["eva", {"id": 7}, [1, "two", None]]
    a = run(source, function="init", meta=meta, caller='"anna"', input='1', block='{"height":4}')
    assert a.log == ["info: eva null null 4"]


def test_the_caller_shows_in_requests(run):
    show = "[r.tana.caller, new Request(r).tana.caller, r.clone().tana.caller, r.tana.session]"
    source = f"exports.get = function (r) {{ return {show}; }};"
    assert run(source, caller='{"name":"anna"}').json == [{"name": "anna"}] * 3 + [None]
    assert run(source, caller='null').json == run(source).json == [None] * 4
    source = f"exports.default = {{ fetch: function (r) {{ return Response.json({show}); }} }};"
    assert run(source, caller='"anna"').json == ["anna"] * 3 + [None]
    # Nobody made this one but the contract.
    assert run("exports.get = function () { return [new Request('http://a/').tana.caller]; };",
               caller='"anna"').json == [None]


BLOCK = {"height": 7, "timestamp": 1700000000000, "hash": "0xab", "previousHash": "0xaa", "executor": "edge",
         "contractId": "c", "gasLimit": 250, "gasUsed": 1}


def test_block_values_by_method_and_property(run):
    names = json.dumps(list(BLOCK))
    a = run(handler(f"""var b = require('tana:block').block;
	return {names}.map(function (n) {{ return [b[n], b['get' + n[0].toUpperCase() + n.slice(1)]()]; }});"""),
            block=json.dumps(BLOCK))
    assert a.json == [[v, v] for v in BLOCK.values()]


def test_block_without_values_is_null(run):
    a = run("var b = require('tana/block').block, early = b.height;" + handler("return [early, b.height, b.getHash()];"))
    assert a.json == [None, None, None]


def test_tx_stages(run):
    a = run(handler("""var tx = require('tana/tx').tx;
	tx.transfer('a', 'b', 5, 'USD'); tx.setBalance('c', '1.5', 'EUR');
	tx.getChanges()[0].amount = 1000000;
	return tx.getChanges();"""))
    assert a.json == [{"type": "transfer", "from": "a", "to": "b", "amount": 5, "currency": "USD"},
                      {"type": "balance_update", "userId": "c", "amount": "1.5", "currency": "EUR"}]


@pytest.mark.parametrize("changes,success,gas,error", [
    (0, True, 0, None),
    (2, False, 200, "tx.execute: the ledger is not available in this version of tana-edge"),
    (3, False, 300, "Out of gas"),
])
def test_tx_executes_honestly(run, changes, success, gas, error):
    a = run(handler(f"""var tx = require('tana/tx').tx;
	for (var i = 0; i < {changes}; i++) tx.setBalance('u' + i, i, 'USD');
	return tx.execute();"""), block=json.dumps(BLOCK)).json
    assert (a["success"], len(a["changes"]), a["gasUsed"], a["error"]) == (success, changes, gas, error)


def test_reused_heap_begins_anew(zygote, image):
    """Where the heap is not put back, what belongs to a request ends with it all the same."""
    source = """var tx = require('tana/tx').tx, n = 0, log = [];
setInterval(function () { log.push('module timer'); }, 20);
exports.get = function (req) {
	var before = tx.getChanges().length, me = ++n;
	tx.setBalance('a', 1, 'USD');
	setTimeout(function () { log.push('timer of ' + me); }, 10);
	queueMicrotask(function () { log.push('task of ' + me); });
	if (me === 1)
		throw new Error('first');
	return new Promise(function (r) { setTimeout(function () { r([me, before, log]); }, 30); });
};"""
    im = image(["contract.js", source], "")
    worker = zygote.spawn()
    try:
        assert worker.receive().type == "ready"
        id = worker.post(im, isolation=REUSE)
        assert settle(worker, id).fault == "THREW"
        worker.restored(id)
        second = settle(worker, worker.post(im, isolation=REUSE))
        assert second.json == [2, 0, ["task of 1", "task of 2", "timer of 2", "module timer"]]
    finally:
        worker.close()


def test_request_that_was_prepared_is_used_once(zygote, image):
    """A heap without timers of its module level has its first request ready; a reused heap's next is another."""
    source = """var last = null, tx = require('tana/tx').tx, data = require('tana/data').data, n = 0;
tx.setBalance('a', 1, 'USD');
exports.Get = function (req) {
	var before = last, seen = [req === before, req.mark, Object.keys(req), req.url, req.path, req.query.n, req.ip,
	    req.headers.get('x-n'), req.tana.contract.id, req.tana.mark, tx.getChanges().length, ++n];
	last = req;
	req.mark = req.tana.mark = 'of ' + n;
	req.path = 'mine';
	tx.setBalance('b', 2, 'USD');
	data.set('k', 1);
	queueMicrotask(function () { n += 10; });
	return before === null ? seen : [seen, before.url, before.path, before.headers.get('x-n'), before.tana === req.tana];
};
exports.Post = function (req, body) {
	return [req === last, req.mark, body, req.body === body, req.path];
};"""
    im = image(["contract.js", source], "")
    worker = zygote.spawn()

    def ask(n, **more):
        id = worker.post(im, isolation=REUSE, url=f"http://h/p{n}", path=f"/p{n}", query=f"n={n}", ip=f"10.0.0.{n}",
                         headers=["x-n", str(n)], **more)
        a = settle(worker, id)
        worker.restored(id)
        return a.json
    try:
        assert worker.receive().type == "ready"
        first = [False, None, [], "http://h/p1", "/p1", "1", "10.0.0.1", "1", "test", None, 0, 1]
        second = [False, None, [], "http://h/p2", "/p2", "2", "10.0.0.2", "2", "test", None, 0, 12]
        assert ask(1) == first
        assert ask(2) == [second, "http://h/p1", "mine", "1", False]
        assert ask(3, method="POST", function="post", body=b"[1]", ) == [False, None, "[1]", True, "/p3"]
    finally:
        worker.close()


def test_json_is_the_same_whichever_way_it_is_made(run):
    """Objects with nothing to run take another way than those with a getter, toJSON or a Proxy in them."""
    a = run(handler(r"""
	function Point() { this.x = 1; }
	Point.prototype.y = 2;
	var sparse = [1, , 3], inherits = [1, , 3], hidden = {}, deep = [], i, loop = {}, all;
	sparse.length = 5;
	Object.defineProperty(hidden, 'no', { value: 1, enumerable: false });
	hidden[Symbol('s')] = 2;
	for (i = 0; i < 200; i++)
		deep = [deep];
	all = [sparse, hidden, deep, new Point(), Object.create({ a: 1 }), { b: 1, 2: 'two', a: 3, 1: 'one' }, new String('s'),
	    new Number(1), new Boolean(false), Object(Symbol('t')), /re/, new Error('e'), function () {}, undefined, Symbol('u'),
	    NaN, -0, 1e21, 1.5e-7, '\u2028\u0000"\\\ud83d', { 'a\n"': undefined, f: function () {} }, new Uint8Array([1, 2]),
	    new Map([[1, 2]]), new Set([1]), Promise.resolve(1), arguments, new Date(0), req.headers, JSON, Math];
	return all.map(function (v) {
		var plain = JSON.stringify([v]), indented = JSON.stringify([v], null, 1),
		    slow = JSON.stringify([v, { toJSON: function () { return 0; } }]);

		return plain.slice(0, -1) + ',0]' === slow &&
		    JSON.stringify(JSON.parse(indented)) === JSON.stringify(JSON.parse(plain)) || [plain, slow];
	}).filter(function (ok) { return ok !== true; });"""))
    assert a.json == []
    assert "cyclic" in run(handler("var o = { a: [] }; o.a[0] = o; return o;")).message
    assert run(handler("Array.prototype[1] = 'up'; return [[1, , 3], { a: [] }];")).body == '[[1,"up",3],{"a":[]}]'


@pytest.mark.parametrize("returned,answer", [
    # What happens while the handler runs decides before what it returns.
    ("{ then: undefined }", ("", {})),
    ("{ get then() { queueMicrotask(function () { log('task'); }); return 1; }, a: 1 }", ("task", {"then": 1, "a": 1})),
    ("{ get then() { throw 'thrown by then'; } }", ("THREW", "thrown by then")),
    ("Object.create({ then: function (ok) { log('then'); ok(5); } })", ("then", 5)),
    ("new Proxy({ b: 2 }, { get: function (o, k) { log(typeof k === 'symbol' ? 'symbol' : k); return o[k]; } })",
     ("then toJSON b", {"b": 2})),
    ("(new EventTarget()).constructor && (t = new EventTarget(), t.addEventListener('e', function () { throw 'uncaught'; }), "
     "t.dispatchEvent(new Event('e')), 3)", ("THREW", "uncaught")),
    ("{ toJSON: function () { log('toJSON'); return undefined; } }", ("RESULT", "has nothing that JSON can express")),
    ("{ toJSON: function () { throw new TypeError('no'); } }", ("RESULT", "cannot be expressed in JSON: TypeError: no")),
    ("(Object.prototype.status = 201, Object.prototype.then = 4, { a: 1 })", ("", {"a": 1})),
    ("(Object.prototype.then = function (ok) { delete Object.prototype.then; ok(6); }, {})", ("", 6)),
])
def test_what_a_handler_returns_is_looked_at_once(run, returned, answer):
    a = run("exports.get = function (req) { var t, said = [], log = function (s) { said.push(s); "
            f"if (said.length < 9) console.log(s); }}; return {returned}; }};")
    if a.fault is not None:
        assert a.fault == answer[0] and answer[1] in a.message
        if "toJSON: function () { log" in returned:
            assert a.log == ["info: toJSON"]
    else:
        assert (" ".join(line.replace("info: ", "") for line in a.log), a.json) == answer


# -- results ---------------------------------------------------------------------

@pytest.mark.parametrize("value,body", [
    ("{ a: [1, null, 'é😀'] }", {"a": [1, None, "é😀"]}),
    ("'text'", "text"), ("null", None), ("0", 0), ("false", False), ("[]", []),
    ("new Date(0)", "1970-01-01T00:00:00.000Z"),
    ("Promise.resolve({ a: 1 })", {"a": 1}),
    ("{ then: function (r) { r(Promise.resolve(3)); } }", 3),
    ("new Promise(function (r) { setTimeout(r, 1, 'late'); })", "late"),
])
def test_values_are_answered_as_json(run, value, body):
    a = run(handler(f"return {value};"))
    assert a.status == 200 and a.json == body


def test_response_is_answered_as_it_is(run):
    a = run(handler("""var h = new Headers({ 'X-A': 'é' }); h.append('set-cookie', 'a=1'); h.append('set-cookie', 'b=2');
	return new Response('grüße 🎉', { status: 203, headers: h });"""))
    assert (a.status, a.body) == (203, "grüße 🎉")
    assert a.headers == [("x-a", "é"), ("set-cookie", "a=1"), ("set-cookie", "b=2"),
                         ("content-type", "text/plain;charset=UTF-8")]


def test_bytes_are_answered_as_they_are(run):
    a = run(handler("return new Response(new Uint8Array([104, 105]).subarray(1));"))
    assert (a.body, a.headers) == ("i", [])


def test_empty_response(run):
    a = run(handler("return new Response(204);"))
    assert (a.status, a.body, a.headers) == (204, "", [])


@pytest.mark.parametrize("value,text", [
    ("undefined", "returned undefined"),
    ("function () {}", "what the handler returned is a function"),
    ("Symbol('s')", "is a symbol"),
    ("(function () { var a = {}; a.a = [a]; return a; })()", "cyclic"),
    ("{ toJSON: function () {} }", "nothing that JSON can express"),
    ("{ get a() { throw new Error('from the getter'); } }", "from the getter"),
    ("{ toJSON: function () { throw { toString: function () { throw 1; } }; } }", "cannot be expressed in JSON"),
    ("Promise.resolve(undefined)", "returned undefined"),
    ("Promise.resolve(function () {})", "is a function"),
    ("new Response('x', { status: 99 })", "invalid status 99"),
    ("new Response('x', { status: 1000 })", "invalid status 1000"),
    ("new Response('x', { status: 200.5 })", "invalid status"),
    ("new Response(600, 'x')", "invalid status 600"),
    ("Response.json({}, NaN)", "invalid status"),
    ("Response.json({}, 'abc')", "invalid status"),
    ("new Response('x', { headers: { 'a b': 'c' } })", "invalid header name: \"a b\""),
    ("new Response('x', { headers: { '': 'c' } })", "invalid header name"),
    ("new Response('x', { headers: { a: 'b\\r\\nset-cookie: c' } })", "invalid value of header a"),
    ("new Response('x', { headers: { a: '\\u20ac' } })", "invalid value of header a"),
    ("new Response('x', { headers: { a: 'b\\u0000' } })", "invalid value of header a"),
    ("new Response(204, 'x')", "has no body"),
    ("Response.json(undefined)", "the argument of Response.json is undefined"),
    ("Response.json(function () {})", "is a function"),
    ("(function () { var a = []; a[0] = a; return Response.json(a); })()", "cyclic"),
    ("Response.error()", "Response.error()"),
    ("(function () { var r = new Response('x'); return r.text().then(function () { return r; }); })()", "has been read"),
])
def test_what_cannot_be_sent_is_said(run, value, text):
    a = run(handler(f"return {value};"))
    assert a.fault == "RESULT"
    assert text in a.message


def test_deep_nesting_is_a_fault(run):
    a = run(handler("var a = []; for (var i = 0; i < 100000; i++) a = [a]; return a;"))
    assert a.fault == "RESULT"


def test_a_refusal_that_was_caught_is_forgotten(run):
    assert run(handler("try { new Response(1); } catch (e) {} return 'fine';")).json == "fine"


def test_too_many_headers_are_a_fault(run):
    a = run(handler("var h = new Headers(); for (var i = 0; i < 400; i++) h.append('a' + i, 'b'); return new Response('x', { headers: h });"))
    assert a.fault is not None


@pytest.mark.parametrize("body", [
    "return new Promise(function () {});",
    "return { then: function () {} };",
    "return Promise.race([]);",
    "var id = setTimeout(function () {}, 5); clearTimeout(id); return new Promise(function () {});",
    "setTimeout(function () {}, 5); return new Promise(function () {});",
])
def test_promise_that_never_settles(run, body):
    assert run(handler(body)).fault == "UNSETTLED"


@pytest.mark.parametrize("body,text", [
    ("throw new RangeError('mine');", "RangeError: mine"),
    ("throw new RangeError('mine');", "contract.js:2"),
    ("throw 'just text';", "just text"),
    ("throw { a: 1 };", '{"a":1}'),
    ("throw undefined;", "undefined"),
    ("throw null;", "null"),
    ("throw Symbol('s');", "Symbol(s)"),
    ("throw function f() {};", "[Function: f]"),
    ("return Promise.reject(new TypeError('later'));", "TypeError: later"),
    ("return new Promise(function (r, j) { setTimeout(j, 1, 'in time'); });", "in time"),
    ("return { then: function () { throw new Error('in then'); } };", "in then"),
    ("return { get then() { throw new Error('then getter'); } };", "then getter"),
    ("return { then: function (a, b) { b('one'); b('two'); a('three'); throw 'four'; } };", "one"),
    ("setTimeout(function () { throw new Error('in a timer'); }, 1); return new Promise(function () {});", "in a timer"),
    ("queueMicrotask(function () { throw new Error('in a microtask'); }); return new Promise(function () {});", "in a microtask"),
    ("null.x;", "TypeError"),
    ("(function f() { f(); })();", "RangeError"),
    ("var e = new Error('x'); e.stack = { toString: function () { throw 1; } }; throw e;", "Error"),
    ("throw { get stack() { throw 1; }, toString: function () { throw 2; } };", "cannot be"),
    ("throw new Proxy({}, { get: function () { throw new Error('trap'); } });", "trap"),
    ("var e = new Error('x'); Object.defineProperty(e, 'stack', { get: function () { throw e; } }); throw e;", "cannot be read"),
    ("throw Object.create(null);", "{}"),
])
def test_what_was_thrown_is_said(run, body, text):
    a = run(handler(body))
    assert a.fault == "THREW"
    assert text in a.message


def test_error_in_a_timer_after_the_answer_does_not_change_it(run):
    a = run(handler("queueMicrotask(function () { throw new Error('afterwards'); }); return 1;"))
    assert a.json == 1 and "afterwards" in a.log[0]


def test_unhandled_rejection_is_logged(run):
    a = run(handler("Promise.reject(new Error('nobody')); return 1;"))
    assert a.json == 1 and "Unhandled promise rejection" in a.log[0] and "nobody" in a.log[0]


def test_handled_rejection_is_not_logged(run):
    a = run(handler("var p = Promise.reject(new Error('somebody')); p.catch(function () {}); return 1;"))
    assert (a.json, a.log) == (1, [])


# -- console -----------------------------------------------------------------------

@pytest.mark.parametrize("args,line", [
    ("'a', 1, true, null, undefined", "info: a 1 true null undefined"),
    ("{ a: [1, { b: 'x' }] }", 'info: {"a":[1,{"b":"x"}]}'),
    ("[undefined, function () {}, NaN]", "info: [null,null,null]"),
    ("{ u: undefined, f: function () {} }", "info: {}"),
    ("new Date(0)", 'info: "1970-01-01T00:00:00.000Z"'),
    ("(function () { var a = { n: 1 }; a.self = a; return a; })()", 'info: {"n":1,"self":"[Circular]"}'),
    ("(function () { var a = {}; return [a, a]; })()", "info: [{},{}]"),
    ("{ get a() { throw new Error('g'); }, b: 1 }", 'info: {"a":"[threw Error: g]","b":1}'),
    ("{ toJSON: function () { throw 1; } }", 'info: "[threw 1]"'),
    ("Symbol('s'), NaN, -0", "info: Symbol(s) NaN 0"),
    ("function f() {}", "info: [Function: f]"),
    ("'grüße 🎉'", "info: grüße 🎉"),
    ("{ e: new TypeError('t') }", 'info: {"e":"TypeError: t"}'),
    ("new Proxy({}, { ownKeys: function () { throw new Error('k'); } })", 'info: "[threw Error: k]"'),
    ("Object.create(null)", "info: {}"),
    ("", "info: "),
])
def test_console_prints(run, args, line):
    a = run(handler(f"console.log({args}); return 1;"))
    assert a.json == 1 and a.log == [line]


def test_console_levels(run):
    a = run(handler("['error', 'warn', 'info', 'log', 'debug'].forEach(function (l) { console[l](l); }); tana.print({ a: 1 }); return 1;"))
    assert a.log == ["error: error", "warn: warn", "info: info", "info: log", "debug: debug", 'info: {"a":1}']


def test_console_prints_an_error_with_its_stack(run):
    a = run(handler("console.error(new TypeError('t')); return 1;"))
    assert a.log[0].startswith("error: TypeError: t\n") and "contract.js:2" in a.log[0]


def test_console_bounds_what_it_prints(run):
    a = run(handler("""var wide = [], deep = {}, i; for (i = 0; i < 100000; i++) wide[i] = i;
	for (i = 0; i < 5000; i++) deep = { d: deep };
	console.log(wide); console.log(deep); console.log(new Array(1e6).join('x')); return 1;"""))
    assert a.json == 1 and len(a.log) == 3
    assert all(len(line) < 20000 for line in a.log)


# -- hostile contracts -----------------------------------------------------------------

POLLUTIONS = {
    "array setters": "[0, 1, 2, 3].forEach(function (i) { Object.defineProperty(Array.prototype, i, { set: function () { throw new Error('set'); }, get: function () { return 'x'; }, configurable: true }); });",
    "array methods": "Object.getOwnPropertyNames(Array.prototype).forEach(function (n) { if (n !== 'length') try { Array.prototype[n] = function () { throw new Error(n); }; } catch (e) {} });",
    "string methods": "Object.getOwnPropertyNames(String.prototype).forEach(function (n) { if (n !== 'length') try { String.prototype[n] = function () { throw new Error(n); }; } catch (e) {} });",
    "function methods": "Function.prototype.call = Function.prototype.apply = Function.prototype.bind = function () { throw new Error('call'); };",
    "regexp methods": "RegExp.prototype.exec = RegExp.prototype.test = function () { throw new Error('exec'); };",
    "object properties": "['status', 'headers', 'body', 'fault', 'message', 'value', 'get', 'set', 'writable', 'then1', 'settled', 'type', 'used'].forEach(function (n) { Object.prototype[n] = 7; });",
    "object statics": "Object.create = Object.keys = Object.defineProperty = Object.setPrototypeOf = function () { throw new Error('Object'); };",
    "object setter traps": "['status', 'headers', 'body', 'due', 'id', 'callback'].forEach(function (n) { Object.defineProperty(Object.prototype, n, { set: function () { throw new Error(n); }, configurable: true }); });",
    "JSON": "JSON.stringify = JSON.parse = function () { throw new Error('JSON'); };",
    "reflection": "Reflect.apply = Reflect.construct = function () { throw new Error('Reflect'); };",
    "response class": "Response.prototype.constructor = null; Object.setPrototypeOf(Response.prototype, null); ['status', 'headers', 'body'].forEach(function (n) { delete Response.prototype[n]; });",
    "headers class": "['get', 'set', 'append', 'forEach', 'entries'].forEach(function (n) { Headers.prototype[n] = function () { throw new Error(n); }; });",
    "globals": "Promise = Headers = Request = Uint8Array = Error = TypeError = Symbol = Map = Object = Array = String = JSON = undefined;",
    "timers": "setTimeout = clearTimeout = setInterval = queueMicrotask = function () { throw new Error('timer'); };",
    "clock and random": "Date.now = Math.random = Math.floor = function () { throw new Error('clock'); };",
    "console": "console.log = console.error = function () { throw new Error('console'); }; delete globalThis.console;",
    "errors": "Error.prototype.toString = function () { throw new Error('toString'); }; Object.defineProperty(Error.prototype, 'stack', { get: function () { throw 1; }, configurable: true });",
    "everything deleted": "Object.getOwnPropertyNames(globalThis).forEach(function (n) { try { delete globalThis[n]; } catch (e) {} });",
    "everything frozen": "[Object, Array, Function, String, Response, Headers].forEach(function (c) { Object.freeze(c); Object.freeze(c.prototype); });",
}


@pytest.mark.parametrize("name", POLLUTIONS)
def test_polluted_heap_still_answers(run, name):
    a = run("var R = Response;" + handler(POLLUTIONS[name] +
            "return new R('{\"a\":1}', { status: 201, headers: { 'X-A': 'b' } });"))
    assert (a.status, a.body) == (201, '{"a":1}'), a.raw
    assert ("x-a", "b") in a.headers


@pytest.mark.parametrize("name", sorted(set(POLLUTIONS) - {"object setter traps"}))
def test_polluted_heap_still_answers_json(run, name):
    a = run(handler(POLLUTIONS[name] + "return { n: 1 };"))
    assert (a.status, a.body) == (200, '{"n":1}'), a.raw
    assert a.headers == [("content-type", "application/json")]


@pytest.mark.parametrize("name", POLLUTIONS)
def test_polluted_heap_still_reports_what_was_thrown(run, name):
    a = run(handler(POLLUTIONS[name] + "throw 'the reason';"))
    assert a.fault == "THREW" and "the reason" in a.message


@pytest.mark.parametrize("name", POLLUTIONS)
def test_polluted_heap_settles_or_fails(run, name):
    """With promises and timers under way: an answer or a fault, never a hang or a crash."""
    a = run("var P = Promise, T = setTimeout;" + handler(
        POLLUTIONS[name] + "return new P(function (r) { T(function () { r('late'); }, 1); });"))
    assert a.fault in (None, "THREW", "RESULT", "UNSETTLED")
    assert a.fault is not None or a.body == '"late"'


def test_internal_state_is_not_reachable(run):
    a = run(handler("""return [new Response('x'), req, new Headers(), new AbortController(), new Event('e'), new TextDecoder()]
	.map(function (o) { return Reflect.ownKeys(o).length; });"""))
    assert a.json == [0, 0, 0, 0, 0, 0]


def test_getters_on_prototypes_do_not_leak(run):
    a = run(handler("""return [Response, Request, Headers].map(function (C) {
	try { return C.prototype.text ? C.prototype.status : C.prototype.get('a'); } catch (e) { return e instanceof TypeError; } });"""))
    assert a.json[0] is True and a.json[2] is True


def test_stack_shows_no_way_into_the_runtime(run):
    a = run(handler("""function f() { return f.caller || f.arguments || arguments.callee.caller; }
	var c; try { c = f(); } catch (e) { c = null; } return c === null || c === undefined || typeof c === 'object';"""))
    assert a.json is True


def test_random_numbers_are_new_for_each_request(run):
    """Though each finds the heap as it was, with what was drawn while loading."""
    source = "var early = Math.random();" + handler("return [early, Math.random(), crypto.randomUUID(), Date.now()];")
    a = run(source).json
    time.sleep(0.002)		# the clock has milliseconds, a request takes less
    b = run(source).json
    assert a[0] == b[0]
    assert a[1] != b[1] and a[2] != b[2] and a[3] < b[3]


def test_memory_is_refused_not_taken(run):
    a = run(handler("var a = []; for (;;) a.push(new Uint8Array(1 << 20));"))
    assert a.fault == "MEMORY"


def test_warm_heap_is_small(check):
    """The base image is copied for each contract: 8 MiB are the room it was planned with."""
    assert check("exports.get = function () {};")["bytes"] < 8 << 20


def test_what_is_thrown_aside_while_the_answer_becomes_json_is_logged(run):
    a = run("""
exports.get = function () {
	return { toJSON: function () {
		var a = new AbortController();
		a.signal.addEventListener('abort', function () { throw new Error('aside'); });
		a.abort();
		return 1;
	} };
};""")
    assert a.json == 1
    assert any("Uncaught" in line and "aside" in line for line in a.log), a.log


def test_stacks_say_nothing_of_how_a_handler_was_called(run):
    a = run("exports.get = function handler() { throw new Error('x'); };")
    assert a.fault == "THREW" and "handler" in a.message and "preventsyield" not in a.message, a.message
