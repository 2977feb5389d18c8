"""A whole server: what a request gets, in each isolation mode."""

import http.client
import json
import re
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import BUILD, PATIENCE, SANITIZED, SOURCE, until
from load import Load

MODES = ("snapshot", "process", "reuse", "fresh")
DEADLINE = 1500 if SANITIZED else 1000

CONTRACTS = {
    # What stands here is plain ES5, so that no compiler is needed.
    "facts": {"get.js": """
var core = require('tana/core');
exports.Get = function (req) {
	return { method: req.method, path: req.path, query: req.query, url: req.url, ip: req.ip,
	    header: req.headers.get('x-test'), contract: req.tana.contract.id,
	    caller: req.tana.caller, session: req.tana.session, version: typeof core.version.duktape };
};
"""},
    "both": {"get.js": "exports.get = function () { return { from: 'get' }; };",
             "post.js": "exports.Post = function (req, body) { return { from: 'post', body: body }; };"},
    "poster": {"post.js": """
exports.Post = function (req, body) {
	return { body: body, type: typeof body, bytes: body && body.byteLength };
};
"""},
    "rolls": {"get.js": """
var atLoad = Math.random();
exports.get = function () {
	var b = crypto.getRandomValues(new Uint8Array(16)), hex = '', i;
	for (i = 0; i < 16; i++) hex += (256 + b[i]).toString(16).slice(1);
	return { load: atLoad, random: [Math.random(), Math.random()], bytes: hex,
	    uuid: crypto.randomUUID(), now: Date.now(), made: new Date().getTime() };
};
"""},
    "thrower": {"get.js": "exports.get = function () {\n\tthrow new Error('on purpose: secret');\n};"},
    "loop": {"get.js": "exports.get = function () { for (;;) ; };"},
    "regexp": {"get.js": "exports.get = function () { return /^(a+)+$/.test(Array(40).join('a') + 'b'); };"},
    "memory": {"get.js": """
exports.get = function () {
	var all = [];
	for (;;) all.push('x'.repeat(1 << 18) + all.length);
};
"""},
    "hog": {"get.js": """
exports.get = function () {
	var all = [], n = 0;
	try { for (;;) all.push(new Uint8Array(1 << 20)); } catch (e) { n = all.length; all = null; }
	return { megabytes: n };
};
"""},
    "deep": {"get.js": "function f(n) { return f(n + 1) + 1; }\nexports.get = function () { return f(0); };"},
    "pending": {"get.js": "exports.get = function () { return new Promise(function () {}); };"},
    "later": {"get.js": """
exports.get = function (req) {
	return new Promise(function (resolve) {
		setTimeout(function () { resolve({ waited: true }); }, Number(req.query.ms || 5));
	});
};
"""},
    "logger": {"get.js": """
var core = require('tana:core');
exports.get = function (req) {
	core.console.log('marker', { n: 1 }, req.query.t);
	core.console.error('an error', req.query.t);
	return null;
};
"""},
    "bad-result": {"get.js": """
exports.get = function (req) {
	var cycle = {};
	cycle.self = cycle;
	return { cycle: cycle, fn: function () {}, symbol: Symbol('x'), undef: undefined }[req.query.what];
};
"""},
    "response": {"get.js": """
var net = require('tana/net');
exports.get = function (req) {
	switch (req.query.what) {
	case 'json': return net.Response.json({ a: 1 }, 201);
	case 'text': return net.Response.text('hello \\u00e9\\ud83d\\ude00');
	case 'old': return new net.Response(202, 'old', { 'x-old': 'yes' });
	case 'new': return new net.Response('new', { status: 203, headers: { 'x-new': 'yes' } });
	case 'empty': return new net.Response(null, { status: 204 });
	case 'bytes': return new net.Response(new Uint8Array([0, 1, 254, 255]));
	case 'cookies':
		var h = new net.Response('c');
		h.headers.append('set-cookie', 'a=1'); h.headers.append('set-cookie', 'b=2');
		return h;
	}
};
"""},
    "fetcher": {"contract.js": """
exports.default = { fetch: function (request) {
	return { url: request.url, method: request.method };
} };
"""},
    "meta": {"get.js": "exports.get = function (req) { return req.tana.contract; };",
             "contract.json": '{"name": "Meta", "version": "1.2.3", "author": "somebody", "description": "x"}'},
    "no-export": {"get.js": "exports.nothing = 1;"},
    "syntax": {"get.js": "exports.get = function () {\n\treturn (1;\n};"},
    "at-load": {"get.js": "throw new Error('while loading');"},
    "empty-dir": {},
}


@pytest.fixture(scope="module", params=MODES)
def server(request, start_module):
    # In mode fresh the time is also for making the heap.
    s = start_module(CONTRACTS, isolation=request.param, memory_max="32m", workers_max=4,
                     deadline_ms=2 * DEADLINE if request.param == "fresh" else DEADLINE,
                     deadline_grace_ms=500 if SANITIZED else 20)
    s.mode = request.param
    return s


@pytest.fixture(scope="module")
def snapshot(start_module):
    return start_module(CONTRACTS, deadline_ms=DEADLINE, memory_max="32m", server_timing=True,
                        deadline_grace_ms=500 if SANITIZED else 20)


# -- in every mode ------------------------------------------------------------------

def test_request_reaches_the_contract(server):
    a = server.get("/facts/a/b?x=1&x=2&y=%20z", headers={"X-Test": "value", "Host": "example.org"})
    assert a.status == 200
    assert a.headers.get_content_type() == "application/json"
    assert a.json() == {
        "method": "GET", "path": "/a/b", "query": {"x": "1", "y": " z"},
        "url": "http://example.org/a/b?x=1&x=2&y=%20z", "ip": "127.0.0.1", "header": "value",
        "contract": "facts", "caller": None, "session": None, "version": a.json()["version"]}
    assert a.json()["version"] in ("string", "number")


def test_random_numbers_are_new_for_each_request(server):
    """A heap that is put back must not repeat itself."""
    got = [server.get("/rolls").json() for _ in range(10)]
    for what in (lambda r: r["random"][0], lambda r: r["random"][1], lambda r: r["bytes"], lambda r: r["uuid"]):
        assert len({what(r) for r in got}) == 10
    assert all(r["random"][0] != r["random"][1] for r in got)
    assert all(0 <= x < 1 for r in got for x in r["random"])


def test_clock_is_that_of_the_request(server):
    for _ in range(3):
        before = time.time()
        r = server.get("/rolls").json()
        after = time.time()
        for t in (r["now"], r["made"]):
            assert before - 0.01 <= t / 1000 <= after + 0.01
        time.sleep(0.02)


def test_error_is_500_and_its_text_stays_in_the_log(server):
    a = server.get("/thrower")
    assert (a.status, a.code) == (500, "contract_error")
    assert "secret" not in a.text
    line = server.wait_log("request failed", a.json()["error"]["requestId"])[0]
    assert "on purpose: secret" in line
    assert server.get("/facts").status == 200


def test_endless_loop_ends_at_the_deadline(server):
    a = server.get("/loop")
    assert (a.status, a.code) == (504, "deadline_exceeded")
    assert server.get("/facts").status == 200


def test_memory_is_bounded(server):
    a = server.get("/memory")
    assert (a.status, a.code) in ((500, "memory_limit"), (500, "contract_error"))
    assert server.get("/facts").status == 200


def test_timers_and_promises_settle(server):
    assert server.get("/later?ms=20").json() == {"waited": True}


def test_what_never_settles_is_told_so(server):
    a = server.get("/pending")
    assert (a.status, a.code) == (500, "never_settles")
    assert server.get("/facts").status == 200


def test_many_requests_at_a_time_are_all_answered(server):
    n = 24 if SANITIZED or server.mode == "fresh" else 120
    paths = ["/facts", "/both", "/rolls", "/later?ms=1"]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: server.get(paths[i % len(paths)]), range(n)))
    assert {a.status for a in answers} == {200}
    assert len({a.headers["x-request-id"] for a in answers}) == n


def test_workers_are_listed_with_real_pids(server):
    states = re.findall(r'^TN_WSTATE\(\w+,\s*"(\w+)"', (SOURCE / "common/states.def").read_text(), re.M)
    with Load(server, "/facts", clients=3) as load:
        for _ in range(10):
            listed = server.workers()
            for w in listed:
                assert set(w) == {"pid", "generation", "state", "contract", "requests", "age", "private_bytes",
                                  "shared_bytes", "images", "frames"}
                assert w["pid"] > 1 and w["state"] in {*states, "standby"} - {"dead"}
            assert len({w["pid"] for w in listed}) == len(listed)
            load.wait(1)
    assert {w["pid"] for w in server.workers()} & set(server.worker_pids())


# -- once ---------------------------------------------------------------------------

@pytest.mark.parametrize("path", ["/regexp", "/hog", "/deep"])
def test_scripts_that_evade_limits_end_and_the_next_request_is_served(snapshot, path):
    a = snapshot.get(path)
    assert a.status in (200, 500, 504)
    if path == "/hog":
        assert a.status != 200 or a.json()["megabytes"] < 32
    if path == "/deep":
        assert a.status == 500
    assert snapshot.get("/facts").status == 200


def test_both_methods_of_one_contract(snapshot):
    assert snapshot.get("/both").json() == {"from": "get"}
    assert snapshot.post("/both", {"a": [1]}, headers={"content-type": "application/json"}).json() == \
        {"from": "post", "body": {"a": [1]}}


def test_head_is_get_without_a_body(snapshot):
    a = snapshot.request("HEAD", "/both")
    assert (a.status, a.body) == (200, b"")
    assert int(a.headers["content-length"]) == len(snapshot.get("/both").body)


def test_wrong_method_is_405_with_allow(snapshot):
    a = snapshot.post("/facts")
    assert (a.status, a.code) == (405, "method_not_allowed")
    assert a.headers["allow"] == "GET, HEAD"
    assert snapshot.get("/poster").headers["allow"] == "POST"
    assert snapshot.request("DELETE", "/both").headers["allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize("path", [
    "/unknown", "/", "//", "/Facts", "/facts-", "/-facts", "/..", "/../facts", "/%66acts%00",
    "/" + "a" * 64, "/facts.js", "/.", "/contract.json"])
def test_what_is_no_contract_is_404(snapshot, path):
    with snapshot.raw(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()) as s:
        text = s.makefile("rb").read()
    assert text.startswith(b"HTTP/1.1 404 ") or text.startswith(b"HTTP/1.1 400 ")
    assert b'"code"' in text


def test_errors_have_one_form(snapshot):
    a = snapshot.get("/unknown")
    assert a.headers.get_content_type() == "application/json"
    assert set(a.json()) == {"error"}
    assert set(a.json()["error"]) == {"code", "message", "requestId"}
    assert a.json()["error"]["requestId"] == a.headers["x-request-id"]
    assert a.code == "not_found"


def test_request_id_is_kept_if_it_is_one(snapshot):
    assert snapshot.get("/facts", headers={"X-Request-Id": "abc-123"}).headers["x-request-id"] == "abc-123"
    for bad in ("a b", "x" * 200, "é", "a\"b", ""):
        got = snapshot.get("/facts", headers={"X-Request-Id": bad.encode("latin-1")}).headers["x-request-id"]
        assert got and got != bad


def test_json_body_is_parsed_and_other_bodies_are_not(snapshot):
    post = lambda body, kind: snapshot.post("/poster", body, headers={"content-type": kind} if kind else {})
    assert post('{"a":"\\u00e9"}', "application/json; charset=utf-8").json()["body"] == {"a": "é"}
    assert post('{"a":1}', "application/problem+json").status == 200
    assert post('{"a":1}', "text/plain").json()["type"] == "string"
    a = post('{"a":', "application/json")
    assert (a.status, a.code) == (400, "invalid_json")
    assert post(bytes(range(256)), "application/octet-stream").json()["bytes"] == 256


def test_chunked_body(snapshot):
    with snapshot.raw(b"POST /poster HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                      b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                      b"3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n") as s:
        text = s.makefile("rb").read()
    assert text.startswith(b"HTTP/1.1 200 ") and b'"body":[1,2]' in text


def test_pipelined_requests_are_answered_in_order(snapshot):
    one = b"GET /later?ms=60 HTTP/1.1\r\nHost: x\r\nX-Request-Id: first\r\n\r\n"
    two = b"GET /both HTTP/1.1\r\nHost: x\r\nX-Request-Id: second\r\nConnection: close\r\n\r\n"
    with snapshot.raw(one + two) as s:
        text = s.makefile("rb").read()
    assert text.index(b"first") < text.index(b"second")
    assert text.count(b"HTTP/1.1 200 ") == 2


@pytest.mark.parametrize("what,status,body,header", [
    ("json", 201, b'{"a":1}', ("content-type", "application/json")),
    ("text", 200, "hello é😀".encode(), ("content-type", "text/plain")),
    ("old", 202, b"old", ("x-old", "yes")),
    ("new", 203, b"new", ("x-new", "yes")),
    ("empty", 204, b"", None),
    ("bytes", 200, b"\0\1\xfe\xff", None),
    ("cookies", 200, b"c", ("set-cookie", "a=1")),
])
def test_responses(snapshot, what, status, body, header):
    a = snapshot.get(f"/response?what={what}")
    assert (a.status, a.body) == (status, body)
    if header:
        assert a.headers[header[0]].startswith(header[1])
    if what == "cookies":
        assert a.headers.get_all("set-cookie") == ["a=1", "b=2"]


@pytest.mark.parametrize("what", ["cycle", "fn", "symbol", "undef"])
def test_what_cannot_be_sent_is_an_error_never_an_empty_200(snapshot, what):
    a = snapshot.get(f"/bad-result?what={what}")
    assert (a.status, a.code) == (500, "invalid_result")


def test_fetch_handlers_see_their_own_path(snapshot):
    a = snapshot.request("PUT", "/fetcher/a?b=c", body="x", headers={"Host": "h.example"})
    assert a.json() == {"url": "http://h.example/a?b=c", "method": "PUT"}


def test_metadata_reaches_the_handler(snapshot):
    assert snapshot.get("/meta").json() == {"id": "meta", "owner": "somebody", "name": "Meta"}


@pytest.mark.parametrize("contract,says", [
    ("no-export", "export"), ("syntax", "get.js:2"), ("at-load", "while loading"), ("empty-dir", "none of get, post")])
def test_contract_that_cannot_be_loaded_says_why_in_the_log(snapshot, contract, says):
    a = snapshot.get(f"/{contract}")
    assert (a.status, a.code) == (500, "contract_unusable")
    assert says in snapshot.wait_log("contract not loaded", f"contract={contract}")[0]
    # It is remembered, not tried again for each request.
    n = len(snapshot.log_lines("contract not loaded", f"contract={contract}"))
    assert snapshot.get(f"/{contract}").status == 500
    assert len(snapshot.log_lines("contract not loaded", f"contract={contract}")) == n


def test_console_records_carry_contract_request_and_level(snapshot):
    a = snapshot.get("/logger?t=xyzzy")
    rid = a.headers["x-request-id"]
    assert (a.status, a.json()) == (200, None)
    info = snapshot.wait_log("console", "marker", "xyzzy", "contract=logger", rid)[0]
    assert re.search(r'\{\\?"n\\?":1\}', info) and "info" in info
    assert "error" in snapshot.wait_log("console", "an error xyzzy", rid)[0]


def test_one_record_for_each_request(snapshot):
    rid = snapshot.get("/facts").headers["x-request-id"]
    line = snapshot.wait_log("method=GET", rid)[0]
    for part in ("contract=facts", "status=200", "duration="):
        assert part in line


def test_server_timing_names_each_phase(snapshot):
    header = snapshot.get("/facts").headers["server-timing"]
    got = dict(re.findall(r"(\w+);dur=([\d.]+)", header))
    assert set(got) == {"queue", "heap", "compile", "bootstrap", "exec", "result", "total"}
    assert sum(float(v) for k, v in got.items() if k != "total") <= float(got["total"]) + 0.01


def test_stats_count_requests_and_phases(snapshot):
    before = snapshot.stats()
    assert snapshot.get("/facts").status == 200
    assert snapshot.get("/unknown").status == 404
    after = snapshot.stats()
    assert after["requests"] == before["requests"] + 2
    assert after["requests_2xx"] == before["requests_2xx"] + 1
    assert after["requests_4xx"] == before["requests_4xx"] + 1
    assert after["phases"]["exec"]["count"] > before["phases"]["exec"]["count"]
    assert after["workers"] >= 2 and after["images"] >= 1


def test_status_says_what_is_in_force(snapshot):
    st = snapshot.status()
    assert st["isolation"] == "snapshot" and st["state"] == "serving" and st["pid"] == snapshot.proc.pid
    assert {"nnp", "nocaps", "rlimits"} <= set(st["layers"])
    assert ("seccomp" in st["layers"]) != SANITIZED


# -- contracts that change --------------------------------------------------------------

def ts(value):
    return f"export function Get(): {{ v: string }} {{ const v: string = `{value}`; return {{ v }}; }}\n"


@pytest.fixture(scope="module")
def editing(start_module):
    return start_module({"edited": {"get.ts": ts("one")},
                         "both-forms": {"get.ts": ts("from ts"), "get.js": "exports.Get = function () { return { v: 'from js' }; };"},
                         "plain": {"get.js": "exports.get = function () { return { v: 1 }; };"}})


def test_typescript_is_compiled_on_the_fly_and_again_when_it_changes(editing):
    assert editing.get("/edited").json() == {"v": "one"}
    editing.write("edited", {"get.ts": ts("two")})
    until("the change is served", lambda: editing.get("/edited").json() == {"v": "two"})
    assert editing.stats()["compiles"] >= 2


def test_broken_edit_keeps_the_old_version_serving_and_names_the_line(editing):
    editing.write("edited", {"get.ts": ts("before")})
    until("it serves", lambda: editing.get("/edited").json() == {"v": "before"})
    editing.write("edited", {"get.ts": "export function Get() {\n\treturn {{;\n}\n"})
    def told():
        assert editing.get("/edited").json() == {"v": "before"}
        return editing.log_lines("contract not loaded", "contract=edited", "get.ts:2")
    assert "the previous version" in until("the log says what is wrong", told)[0]
    editing.write("edited", {"get.ts": ts("after")})
    until("the mended one serves", lambda: editing.get("/edited").json() == {"v": "after"})


def test_js_that_is_not_older_than_its_ts_is_used(editing):
    editing.touch("both-forms", "get.ts", ago=100)
    editing.touch("both-forms", "get.js", ago=100)
    compiles = editing.stats()["compiles"]
    assert editing.get("/both-forms").json() == {"v": "from js"}
    assert editing.stats()["compiles"] == compiles
    editing.touch("both-forms", "get.ts", ago=50)
    until("the newer .ts serves", lambda: editing.get("/both-forms").json() == {"v": "from ts"})


def test_plain_js_changes_without_a_failed_request(editing):
    stop = []

    def load():
        bad = []
        while not stop:
            a = editing.get("/plain")
            if a.status != 200 or a.json()["v"] not in range(1, 6):
                bad.append(a)
        return bad
    with ThreadPoolExecutor(3) as pool:
        loads = [pool.submit(load) for _ in range(2)]
        try:
            for v in range(2, 6):
                editing.write("plain", {"get.js": f"exports.get = function () {{ return {{ v: {v} }}; }};"})
                editing.ctl("reload", "plain")
                assert editing.get("/plain").json() == {"v": v}	# reload returns when it serves
        finally:
            stop.append(True)
        assert [bad for f in loads for bad in f.result()] == []


@pytest.fixture(scope="module", params=MODES)
def single(request, start_module):
    """One worker, and more contracts than it keeps images."""
    contracts = {f"c{i:02}": {"get.js": f"""
var who = 'c{i:02}', table = [], n = 0, i;
for (i = 0; i < 100 * {i % 5}; i++) table.push(who + ':' + i);
exports.get = function () {{
	table.push('of this request');
	return {{ who: who, length: table.length, last: table[table.length - 2], n: ++n }};
}};
"""} for i in range(12)}
    s = start_module(contracts, isolation=request.param, memory_max="32m", workers_min=1, workers_max=1,
                     deadline_ms=20 * DEADLINE)
    s.mode, s.ids = request.param, sorted(contracts)
    return s


def assert_own_state(server, contract):
    a = server.get(f"/{contract}")
    assert a.status == 200, a
    length = 100 * (int(contract[1:]) % 5)
    if server.mode != "reuse":
        last = f"{contract}:{length - 1}" if length else None
        assert a.json() == {"who": contract, "length": length + 1, "n": 1, **({"last": last} if last else {})}
    else:
        assert (a.json()["who"], a.json()["length"]) == (contract, length + a.json()["n"])
    return a.json()


def test_contracts_that_alternate_on_one_worker_keep_to_their_own_state(single):
    for _ in range(3 if single.mode == "fresh" else 20):
        assert_own_state(single, "c01")
        assert_own_state(single, "c04")
        assert_own_state(single, "c04")


def test_more_contracts_than_a_worker_keeps_images(single):
    """Round and round, back and forth, and one that stays at hand: always its own heap."""
    order = single.ids if single.mode == "fresh" else single.ids * 2 + single.ids[::-1] + [
        c for pair in zip(single.ids, single.ids[3:] + single.ids[:3]) for c in (*pair, "c00")]
    for contract in order:
        assert_own_state(single, contract)
    assert single.stats()["audits_failed"] == 0
    if single.mode != "process":
        assert len({w["pid"] for w in single.workers()}) == 1 and single.stats()["workers_crashed"] == 0


def test_clients_of_many_contracts_at_once_share_one_worker(single):
    n = 12 if single.mode == "fresh" else 120
    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(assert_own_state, single, single.ids[i * 7 % len(single.ids)]) for i in range(n)]:
            done.result()


@pytest.mark.parametrize("mode,depth", [("snapshot", 1), ("snapshot", 4), ("reuse", 4)])
def test_new_version_replaces_an_image_while_the_old_one_runs(start, mode, depth):
    """On one worker, where the next image waits for the end of the last."""
    version = """
var v = %d, pad = new Array(%d).join('x');
exports.get = function (req) {
	return new Promise(function (resolve) {
		setTimeout(function () { resolve({ v: v, pad: pad.length }); }, Number(req.query.ms || 0));
	});
};
"""
    s = start({"edited": {"get.js": version % (1, 1)}, "other": CONTRACTS["facts"]}, isolation=mode,
              workers_min=1, workers_max=1, worker_depth=depth, deadline_ms=60000)
    for v in range(1, 4):
        old = s.begin("GET", "/edited?ms=700")
        until("it runs", lambda: s.stats()["requests_running"] >= 1)
        s.write("edited", {"get.js": version % (v + 1, 20000 * (v % 2) + 1)})
        s.ctl("reload", "edited")
        behind = [s.begin("GET", "/edited"), s.begin("GET", "/other"), s.begin("GET", "/edited")]
        assert old.finish().json() == {"v": v, "pad": 20000 * ((v - 1) % 2)}
        answers = [b.finish().json() for b in behind]
        assert [answers[0], answers[2]] == [{"v": v + 1, "pad": 20000 * (v % 2)}] * 2
        assert answers[1]["contract"] == "other"
    assert s.stats()["images"] == 2 and s.stats()["audits_failed"] == 0


def tana(server, *args):
    return subprocess.run([BUILD / "tana", *args], cwd=server.dir, capture_output=True, text=True,
                          timeout=PATIENCE, env=server.env, check=False)


def test_deploy_switches_versions_under_load_and_refuses_what_is_broken(editing):
    source = editing.dir / "source"
    source.mkdir(exist_ok=True)
    control = editing.run_dir / "control.sock"
    deploy = ("deploy", source, "--id", "deployed", "--contracts", editing.contracts, "--reload", control)
    (source / "get.ts").write_text(ts("v1"))
    done = tana(editing, *deploy)
    assert done.returncode == 0, done.stderr
    assert editing.get("/deployed").json() == {"v": "v1"}
    compiles = editing.stats()["compiles"]
    with Load(editing, "/deployed", clients=2) as load:
        for v in ("v2", "v3"):
            (source / "get.ts").write_text(ts(v))
            done = tana(editing, *deploy)
            assert done.returncode == 0, done.stderr
            assert editing.get("/deployed").json() == {"v": v}
        (source / "get.ts").write_text("import { x } from 'tana/nonsense';\nexport const Get = () => x;\n")
        done = tana(editing, *deploy)
        assert done.returncode == 1
        assert "get.ts:1" in done.stderr and "tana/nonsense" in done.stderr
        load.wait(5)
    assert load.bad == [] and load.broken == []
    assert editing.get("/deployed").json() == {"v": "v3"}
    assert editing.stats()["compiles"] == compiles		# the server compiled nothing itself


def test_removed_contract_is_404_and_a_new_one_is_found(editing):
    editing.write("fleeting", {"get.js": "exports.get = function () { return 1; };"})
    assert editing.get("/fleeting").status == 200
    (editing.contracts / "fleeting/get.js").unlink()
    (editing.contracts / "fleeting").rmdir()
    until("it is gone", lambda: editing.get("/fleeting").status == 404)


def test_skip_transpile_names_the_file_and_starts_no_compiler(start):
    s = start({"typed": {"get.ts": ts("x")},
               "stale": {"get.ts": ts("x"), "get.js": "exports.get = function () { return 1; };"},
               "fine": {"get.js": "exports.get = function () { return 1; };"}}, skip_transpile=True)
    s.touch("stale", "get.js", ago=100)
    for contract in ("typed", "stale"):
        a = s.get(f"/{contract}")
        assert (a.status, a.code) == (500, "not_compiled")
        assert f"{contract}/get.ts" in s.wait_log("contract not loaded", f"contract={contract}")[0]
    assert s.get("/fine").status == 200
    assert not any("compile-server" in " ".join(p.argv) for p in s.family())


def test_contract_files_that_are_links_are_not_followed(start):
    """Another tenant's file, or the system's, must not be had by a link to it."""
    s = start({"victim": {"get.js": "exports.get = function () { return 'secret'; };"}, "thief": {}})
    (s.contracts / "thief/get.js").symlink_to("../victim/get.js")
    assert s.get("/victim").status == 200
    assert s.get("/thief").status == 500


# -- options seen from outside -----------------------------------------------------------

def test_contract_by_host_name(start):
    s = start({"both": CONTRACTS["both"]}, domain="example.test")
    assert s.get("/", headers={"Host": "both.example.test"}).json() == {"from": "get"}
    assert s.get("/", headers={"Host": "BOTH.Example.TEST:8180"}).json() == {"from": "get"}
    assert s.get("/", headers={"Host": "other.example.test"}).status == 404
    assert s.get("/both", headers={"Host": "elsewhere.test"}).json() == {"from": "get"}


def test_unix_socket_listener(start):
    s = start({"both": CONTRACTS["both"]}, listen=["127.0.0.1:{port}", "unix:{dir}/http.sock"])
    with socket.socket(socket.AF_UNIX) as c:
        c.connect(str(s.dir / "http.sock"))
        c.sendall(b"GET /both HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert c.makefile("rb").read().startswith(b"HTTP/1.1 200 ")


def test_json_log_is_json(start):
    s = start({"logger": CONTRACTS["logger"]}, log_format="json")
    rid = s.get("/logger?t=%22%0A").headers["x-request-id"]
    s.wait_log(rid, "status")
    records = [json.loads(line) for line in s.log.splitlines() if line.startswith("{")]
    assert any(r.get("request_id") == rid for r in records)


def test_connections_max_is_kept(start):
    s = start({"both": CONTRACTS["both"]}, connections_max=3)
    until("none is open", lambda: s.stats()["connections"] == 0)
    held = [s.connection() for _ in range(3)]
    try:
        for c in held:
            c.request("GET", "/both")
            assert c.getresponse().read()
        def refused():
            try:
                return s.get("/both", timeout=5).status == 503
            except (ConnectionError, http.client.HTTPException):
                return True
        assert refused()
        assert s.stats()["connections_refused"] >= 1
    finally:
        for c in held:
            c.close()
    until("there is room again", lambda: not refused())
