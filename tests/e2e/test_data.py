"""tana/data: what contracts keep, from the handler's call to the file and back."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import BUILD, PATIENCE, ROOT, SANITIZED, SOURCE, until

# Steps in, results out: a list of [method, argument ...] of data, one after the other.
RUN = """
import { data } from 'tana/data';
export async function post(req, steps) {
	const out: any[] = [];
	for (const [name, ...args] of steps) {
		try {
			const value = name === 'sleep' ? await new Promise(r => setTimeout(r, args[0])) :
			    name === 'fail' ? (() => { throw new Error('on purpose'); })() :
			    name === 'all' ? await Promise.all(args.map(([n, ...a]) => data[n](...a))) :
			    await data[name](...args);
			out.push(value === undefined ? 'undefined' : value);
		} catch (e) {
			if (name === 'fail')
				throw e;
			out.push(`${e.name}: ${e.message}`);
		}
	}
	return out;
}
"""
COUNT = """
import { data } from 'tana/data';
export async function post(req, body) {
	const n = (await data.get('n')) ?? 0;
	if (body?.wait)
		await new Promise(r => setTimeout(r, body.wait));
	await data.set('n', n + 1);
	await data.commit();
	return n + 1;
}
export async function get() {
	return (await data.get('n')) ?? 0;
}
"""
CONTRACTS = {"run": {"contract.ts": RUN}, "other": {"contract.ts": RUN}, "count": {"contract.ts": COUNT}}
SLOW = {"queue_timeout_ms": 60000, "compile_timeout_ms": 60000}


def server_of(start, **kw):
    return start(kw.pop("contracts", CONTRACTS), **{**SLOW, **kw})


def run(server, *steps, contract="run", **kw):
    a = server.post(f"/{contract}", list(steps), headers={"Content-Type": "application/json"}, **kw)
    assert a.status == 200, a
    return a.json()


@pytest.fixture(scope="module")
def server(start_module):
    s = server_of(start_module)
    for contract in ("run", "other"):
        run(s, ["has", "x"], contract=contract)	# compiled
    return s


@pytest.fixture
def empty(server):
    for contract in ("run", "other"):
        run(server, ["clear"], ["commit"], contract=contract)
    return server


# -- methods -----------------------------------------------------------------------

VALUES = ["text", "", "ü🎉", 0, -1.5, True, False, None, [], {}, [1, [2, {"a": None}]], {"b": {"c": "d"}},
          "1", "true", "null", '{"a":1}', "with\0nul"]


def test_values_come_back_as_what_they_were(empty):
    run(empty, *[["set", f"v{i}", v] for i, v in enumerate(VALUES)], ["commit"])
    assert run(empty, *[["get", f"v{i}"] for i in range(len(VALUES))]) == VALUES
    assert run(empty, ["entries"])[0] == sorted([f"v{i}", v] for i, v in enumerate(VALUES))


def test_missing_is_null_and_not_there(empty):
    assert run(empty, ["get", "a"], ["has", "a"], ["keys"], ["entries"], ["delete", "a"], ["commit"]) == \
        [None, False, [], [], "undefined", "undefined"]


def test_what_is_staged_is_seen_by_its_request_and_by_no_other(empty):
    run(empty, ["set", "kept", 1], ["set", "gone", 2], ["commit"])
    assert run(empty, ["set", "kept", 10], ["delete", "gone"], ["set", "new", 3],
               ["get", "kept"], ["get", "gone"], ["has", "gone"], ["has", "new"], ["keys"], ["entries"])[3:] == \
        [10, None, False, True, ["kept", "new"], [["kept", 10], ["new", 3]]]
    assert run(empty, ["entries"]) == [[["gone", 2], ["kept", 1]]]


def test_clear_takes_all_and_what_is_set_then_stays(empty):
    run(empty, *[["set", f"k{i}", i] for i in range(50)], ["commit"])
    assert run(empty, ["clear"], ["get", "k1"], ["keys"], ["set", "k1", "new"], ["entries"], ["commit"], ["keys"]) == \
        ["undefined", None, [], "undefined", [["k1", "new"]], "undefined", ["k1"]]
    assert run(empty, ["entries"]) == [[["k1", "new"]]]


@pytest.mark.parametrize("pattern,found", [
    ("*", ["", "a", "a*b", "a.b", "user:1", "user:2:x", "ü"]), ("user:*", ["user:1", "user:2:x"]), ("user:?", []),
    ("*:*:*", ["user:2:x"]), ("a", ["a"]), ("a*", ["a", "a*b", "a.b"]), ("a*b", ["a*b", "a.b"]), ("a.*", ["a.b"]),
    ("*b", ["a*b", "a.b"]), ("", [""]), ("**", ["", "a", "a*b", "a.b", "user:1", "user:2:x", "ü"]), ("[a]", []),
    ("*ü*", ["ü"]), ("x*", []), (None, ["", "a", "a*b", "a.b", "user:1", "user:2:x", "ü"]),
])
def test_keys_by_pattern(server, pattern, found):
    names = ["a", "a.b", "a*b", "user:1", "user:2:x", "ü", ""]
    run(server, ["clear"], *[["set", n, 1] for n in names], ["commit"])
    assert run(server, ["keys", pattern]) == [found]


def test_names_of_objects_are_ordinary_keys(empty):
    names = ["__proto__", "constructor", "toString", "0", "length"]
    assert run(empty, *[["get", n] for n in names]) == [None] * 5
    run(empty, *[["set", n, n] for n in names], ["commit"])
    assert run(empty, *[["get", n] for n in names]) == names
    assert run(empty, ["keys"]) == [sorted(names)]


def test_keys_that_are_no_strings(empty):
    assert run(empty, ["set", 5, "five"], ["commit"], ["get", "5"])[2] == "five"
    assert run(empty, ["get", None], ["set", {}, 1], ["has"]) == ["TypeError: Key must be a string"] * 3


# -- limits --------------------------------------------------------------------------

def test_the_longest_key_and_value_fit(empty):
    run(empty, ["set", "k" * 256, "v" * 10240], ["set", "ü" * 128, "ü" * 5120], ["commit"])
    assert run(empty, ["get", "k" * 256], ["get", "ü" * 128]) == ["v" * 10240, "ü" * 5120]


@pytest.mark.parametrize("step,text", [
    (["set", "k" * 257, 1], "Key too large: 257 bytes (max 256)"),
    (["get", "ü" * 129], "Key too large: 258 bytes (max 256)"),
    (["has", "k" * 300], "Key too large: 300 bytes (max 256)"),
    (["delete", "k" * 300], "Key too large: 300 bytes (max 256)"),
    (["set", "k", "v" * 10241], "Value too large: 10241 bytes (max 10240)"),
    (["set", "k", "ü" * 5121], "Value too large: 10242 bytes (max 10240)"),
    (["set", "k", ["v" * 10237]], "Value too large: 10241 bytes (max 10240)"),
    (["keys", "*" * 257], "Pattern too large: 257 bytes (max 256)"),
    (["set", "k"], "Value cannot be expressed in JSON: it is undefined"),
])
def test_too_large(empty, step, text):
    result = run(empty, step, ["commit"], ["keys"])
    assert result[0] in (f"Error: {text}", f"TypeError: {text}")
    assert result[1:] == ["undefined", []]


def test_total_size(empty):
    full = [["set", f"{i:04}", "v" * 10236] for i in range(10)]	# 10 times 10240 bytes
    assert run(empty, *full, ["commit"]) == ["undefined"] * 11
    assert run(empty, ["set", "k", ""], ["commit"]) == ["undefined", "Error: Storage limit exceeded: 102401 bytes (max 102400)"]
    # In place of something it fits; and what was staged when it did not is still there.
    assert run(empty, ["set", "k", ""], ["commit"], ["delete", "0003"], ["commit"], ["has", "0003"], ["has", "k"])[1:] == \
        ["Error: Storage limit exceeded: 102401 bytes (max 102400)", "undefined", "undefined", False, True]
    # What could never be committed is refused at once, and the rest of it stays.
    assert run(empty, *full, ["set", "x", "y"], ["get", "x"])[10:] == \
        ["Error: Storage limit exceeded: 102402 bytes (max 102400)", None]


def test_number_of_keys(empty):
    run(empty, *[["set", f"k{i}", i] for i in range(1000)], ["commit"])
    assert run(empty, ["set", "k1000", 1], ["commit"]) == ["undefined", "Error: Too many keys: 1001 (max 1000)"]
    assert len(run(empty, ["keys"])[0]) == 1000
    assert run(empty, ["set", "k1", 1], ["delete", "k0"], ["set", "k1000", 1], ["commit"])[3] == "undefined"
    assert run(empty, *[["set", f"x{i}", i] for i in range(1001)])[1000] == "Error: Too many keys: 1001 (max 1000)"
    assert len(run(empty, ["all", *[["get", f"k{i}"] for i in range(1, 1001)]])[0]) == 1000


def test_constants(start):
    s = server_of(start, contracts={"c": {"get.js": """
exports.get = function () {
	var d = require('tana:data').data;
	return [d.MAX_KEY_SIZE, d.MAX_VALUE_SIZE, d.MAX_TOTAL_SIZE, d.MAX_KEYS];
};"""}})
    assert s.get("/c").json() == [256, 10240, 102400, 1000]


# -- whose it is -------------------------------------------------------------------------

def test_a_contract_sees_its_own_data_only(empty):
    run(empty, ["set", "a", "mine"], ["commit"])
    run(empty, ["set", "a", "theirs"], ["set", "b", 2], ["commit"], contract="other")
    assert run(empty, ["entries"]) == [[["a", "mine"]]]
    run(empty, ["clear"], ["commit"])
    assert run(empty, ["entries"], contract="other") == [[["a", "theirs"], ["b", 2]]]


@pytest.mark.parametrize("isolation", ["snapshot", "process", "reuse", "fresh"])
def test_what_is_not_committed_is_gone(start, isolation):
    s = server_of(start, isolation=isolation, workers_min=1, workers_max=1)
    run(s, ["set", "a", 1], ["commit"], ["set", "a", 2], ["set", "b", 2], ["clear"], ["set", "c", 3])
    assert run(s, ["entries"]) == [[["a", 1]]]
    assert s.post("/run", [["set", "a", 3], ["fail"]], headers={"Content-Type": "application/json"}).status == 500
    assert run(s, ["entries"]) == [[["a", 1]]]


def test_data_outlives_the_server(start):
    s = server_of(start)
    run(s, ["set", "a", {"b": [1]}], ["commit"])
    assert s.stop() == 0
    s = start(base=s, **SLOW)
    assert run(s, ["get", "a"]) == [{"b": [1]}]


def test_data_outlives_the_front(start):
    s = server_of(start)
    run(s, ["set", "a", 1], ["commit"])
    front = s.front_pid()
    os.kill(front, signal.SIGKILL)
    until("another front serves", lambda: s.front_pid() != front)
    s.wait_serving()
    assert run(s, ["get", "a"], ["set", "a", 2], ["commit"], ["get", "a"]) == [1, "undefined", "undefined", 2]


def test_a_module_level_has_no_data(start):
    s = server_of(start, contracts={"c": {"get.js": """
var d = require('tana/data').data, said = [];
['get', 'set', 'keys', 'commit'].forEach(function (n) { d[n]('a', 1).catch(function (e) { said.push(e.message); }); });
exports.get = function () { return said; };"""}})
    assert s.get("/c").json() == [f"data.{n}: there is no request yet" for n in ("get", "set", "keys", "commit")]


# -- conflicts ---------------------------------------------------------------------------------

@pytest.mark.parametrize("isolation", ["snapshot", "process", "fresh"])
def test_counters_lose_no_update(start, isolation):
    s = server_of(start, isolation=isolation, workers_min=4, commit_retries=100, deadline_ms=60000)
    s.get("/count")
    n = 0
    while n < 400:		# until some have met, which is for the machine to say
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: s.post("/count"), range(40)))
        assert [a.status for a in answers] == [200] * 40
        assert sorted(a.json() for a in answers) == list(range(n + 1, n + 41))
        n += 40
        stats = s.stats()
        assert stats["commits"] == n
        assert stats["reruns"] == stats["commit_conflicts"]
        if stats["reruns"] > 0:
            break
    assert stats["reruns"] > 0
    assert stats["workers_crashed"] == stats["workers_killed"] == 0


SLEEP = 2000 if SANITIZED else 600	# ms; meanwhile another request reads and commits


def asked(s):
    return s.stats()["operations"]


def meanwhile(s, path, body, operations, then):
    """Begin a request; when it has asked so many operations it sleeps: do `then`; its answer."""
    before = asked(s)
    slow = s.begin("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    until("it has read", lambda: asked(s) >= before + operations)
    then()
    return slow.finish()


def two_at_once(s):
    def other():
        assert s.post("/count").status == 200

    return meanwhile(s, "/count", {"wait": SLEEP}, 1, other)


def test_a_conflict_runs_the_request_again(start):
    s = server_of(start)
    s.get("/count")
    a = two_at_once(s)
    assert (a.status, a.json()) == (200, 2)
    assert s.stats()["reruns"] == 1
    assert s.log_lines("request runs again", "contract=count", 'reason="Conflict: n changed since it was read"')


@pytest.mark.parametrize("options", [{"commit_retries": 0}, {"isolation": "reuse"}])
def test_a_conflict_reaches_the_author_when_it_may_not_run_again(start, options):
    s = server_of(start, **options)
    s.get("/count")
    a = two_at_once(s)
    assert (a.status, a.code) == (500, "contract_error")
    s.wait_log("request failed", "Error: Conflict: n changed since it was read")
    assert s.get("/count").json() == 1
    assert s.stats()["reruns"] == 0


def test_a_conflict_of_a_contract_that_keeps_its_heap_reaches_the_author(start):
    """Its contract.json says so, not the server."""
    s = server_of(start, isolation_allowed="reuse")
    s.write("count", {"contract.json": json.dumps({"isolation": "reuse"})})
    s.ctl("reload", "count")
    s.get("/count")
    assert (two_at_once(s).status, s.stats()["reruns"]) == (500, 0)


def test_commit_retries_run_out(start):
    """Each of its runs has a conflict."""
    s = server_of(start, commit_retries=2)
    run(s, ["get", "a"])
    before = asked(s)

    def disturb():
        for i in range(3):
            # A run asks for `a` and commits, and so does each turn of this.
            until("it has read", lambda: asked(s) >= before + 1 + 3 * i)
            run(s, ["set", "a", i], ["commit"])

    a = meanwhile(s, "/run", [["get", "a"], ["sleep", SLEEP], ["set", "b", 1], ["commit"]], 1, disturb)
    assert a.json()[3] == "Error: Conflict: a changed since it was read"
    assert s.stats()["reruns"] == 2


@pytest.fixture(scope="module")
def strict(start_module):
    s = server_of(start_module, commit_retries=0)
    run(s, ["has", "x"])
    return s


@pytest.mark.parametrize("read,write,conflict", [
    (["get", "a"], ["set", "a", 2], "a"),
    (["get", "a"], ["delete", "a"], "a"),
    (["get", "new"], ["set", "new", 2], "new"),
    (["has", "a"], ["set", "a", 1], "a"),
    (["keys"], ["set", "new", 2], "new"),
    (["keys"], ["delete", "a"], "a"),
    (["keys"], ["clear"], "a"),
    (["keys", "b*"], ["set", "new", 2], None),
    (["keys", "a*"], ["set", "a", 2], None),
    (["keys", "a*"], ["set", "ab", 2], "ab"),
    (["keys", "a*"], ["delete", "b"], None),
    (["entries"], ["set", "a", 2], "a"),
    (["entries"], ["set", "new", 2], "new"),
    (["get", "a"], ["set", "b", 2], None),
    (["set", "a", 7], ["set", "a", 2], None),
    (["delete", "a"], ["set", "a", 2], None),
    (["clear"], ["set", "a", 2], None),
])
def test_what_conflicts(strict, read, write, conflict):
    s = strict
    run(s, ["clear"], ["set", "a", 1], ["set", "b", 1], ["commit"])
    reads = read[0] in ("get", "has", "keys", "entries")

    def other():
        assert run(s, write, ["commit"])[1] == "undefined"

    a = meanwhile(s, "/run", [read, ["sleep", SLEEP if reads else 100], ["set", "out", 1], ["commit"]], int(reads), other)
    assert a.json()[3] == \
        ("undefined" if conflict is None else f"Error: Conflict: {conflict} changed since it was read")
    assert run(s, ["has", "out"]) == [conflict is None]


def test_after_a_commit_the_request_goes_on(start):
    """Its own changes are no conflict; another's are, and then it does not run again."""
    s = server_of(start)
    run(s, ["set", "a", 1], ["commit"])
    assert run(s, ["keys"], ["get", "a"], ["set", "a", 2], ["set", "b", 1], ["commit"], ["get", "a"], ["keys"],
               ["delete", "a"], ["commit"], ["clear"], ["commit"], ["set", "c", 1], ["commit"], ["keys"]) == \
        [["a"], 1, "undefined", "undefined", "undefined", 2, ["a", "b"], "undefined", "undefined", "undefined",
         "undefined", "undefined", "undefined", ["c"]]
    a = meanwhile(s, "/run", [["get", "c"], ["set", "d", 1], ["commit"], ["sleep", SLEEP], ["set", "e", 1], ["commit"],
                              ["get", "e"], ["get", "c"], ["set", "f", 1], ["commit"], ["keys"]],
                  2, lambda: run(s, ["set", "c", 2], ["commit"]))
    # After the error nothing is staged, and what is read is read anew.
    assert a.json()[5:] == ["Error: Conflict: c changed since it was read", None, 2, "undefined",
                                        "undefined", ["c", "d", "f"]]
    assert s.stats()["reruns"] == 0


def test_looking_often_is_no_more_to_commit(start):
    """What keys() has answered goes along with the commit, but once."""
    s = server_of(start, operations_bytes_max="200k")
    run(s, *[["set", "k" * 200 + str(i), i] for i in range(100)], ["commit"])
    assert run(s, *[["keys"], ["keys", "k*"]] * 50, ["set", "a", 1], ["commit"], ["keys", "a"])[-2:] == ["undefined", ["a"]]


def test_a_commit_that_is_done_is_answered_so_whatever_the_limits(start):
    """Its answer may be the byte too many."""
    s = server_of(start, operations_bytes_max="1k")
    said = []
    for n in range(975, 1025):
        before = s.stats()["commits"]
        said.append(run(s, ["set", "a", "x" * n], ["commit"])[1] == "undefined")
        assert said[-1] == (s.stats()["commits"] > before)
    assert said == sorted(said, reverse=True) and True in said and False in said


def test_a_second_look_costs_nothing_and_sees_the_same(start):
    s = server_of(start)
    run(s, ["set", "a", 1], ["commit"])
    before = s.stats()["operations"]
    assert run(s, ["get", "a"], ["get", "a"], ["has", "a"], ["keys"], ["keys", "a*"])[:3] == [1, 1, True]
    assert s.stats()["operations"] == before + 2
    a = meanwhile(s, "/run", [["get", "a"], ["sleep", SLEEP], ["get", "a"]], 1,
                  lambda: run(s, ["set", "a", 2], ["commit"]))
    assert a.json() == [1, "undefined", 1]


# -- operations -----------------------------------------------------------------------------------

def test_operations_overlap_and_so_do_timers(start):
    s = server_of(start, contracts={"c": {"contract.ts": """
import { data } from 'tana/data';
const sleep = ms => new Promise(r => setTimeout(r, ms));
export async function get() {
	const order: string[] = [];
	const note = (name, p) => p.then(() => order.push(name));
	await data.set('k', 1);
	const began = performance.now();
	await Promise.all([note('sleep', sleep(900)), note('commit', data.commit()), note('get', data.get('a')),
	    note('get', data.get('b')), note('keys', data.keys()), note('none', sleep(0))]);
	return { order, ms: performance.now() - began };
}
"""}})
    a = s.get("/c").json()
    assert sorted(a["order"][:-1]) == ["commit", "get", "get", "keys", "none"]
    assert a["order"][-1] == "sleep"
    assert 900 <= a["ms"] < 3000


def test_timers_that_are_always_due_do_not_hide_answers(start):
    s = server_of(start, deadline_ms=3000, contracts={"c": {"get.js": """
exports.get = function () {
	var done = false, turns = 0;
	require('tana/data').data.get('a').then(function () { done = true; });
	return new Promise(function (resolve) {
		(function again() {
			turns++;
			if (done) resolve({ turns: turns }); else setTimeout(again, 0);
		})();
	});
};"""}})
    assert s.get("/c").json()["turns"] >= 1


def test_limits_of_operations(start):
    s = server_of(start, operations_max=5, operations_bytes_max="1k")
    gets = [["get", f"k{i}"] for i in range(8)]
    text = "Error: Too many operations: more than 5 in one request (operations_max)"
    assert run(s, *gets) == [None] * 5 + [text] * 3
    assert run(s, *gets) == [None] * 5 + [text] * 3		# counted anew
    large = "Error: Operations too large: more than 1024 bytes in one request (operations_bytes_max)"
    assert run(s, ["set", "a", "x" * 1100], ["commit"], ["get", "a"])[1:] == [large, "x" * 1100]
    assert s.stats()["operations_refused"] == 7


def test_many_commits_wait_in_a_line(start):
    """The runtime sends one at a time, so that operations_pending_max = 1 is enough for them."""
    s = server_of(start, operations_pending_max=1)
    assert run(s, ["set", "a", 1], ["all", ["commit"], ["set", "b", 1], ["commit"], ["commit"]], ["keys"])[2] == ["a", "b"]


def test_operations_pending_max(start):
    s = server_of(start, operations_pending_max=1)
    result = run(s, ["set", "a", 1], ["all", ["commit"], ["get", "b"], ["get", "c"]])
    # (The commit may have been answered before the first get came.)
    assert result[1] in ("Error: Too many operations: more than 1 at a time (operations_pending_max)", [None] * 3)


LEAVES = """
import { data } from 'tana/data';
export async function post(req, body) {
	const seen = [];
	for (let i = 0; i < 100; i++)
		data.get('k' + i).then(v => seen.push(v));
	data.set('left', body);
	data.commit().then(() => { throw new Error('heard of it'); });
	setTimeout(() => { throw new Error('heard the timer'); }, 5);
	return { seen: seen.length };
}
export async function get() {
	const began = performance.now();
	const v = await data.get('left');
	return { v, keys: await data.keys() };
}
"""


@pytest.mark.parametrize("isolation", ["snapshot", "process", "reuse", "fresh"])
def test_what_a_request_leaves_pending_reaches_no_other(start, isolation):
    s = server_of(start, isolation=isolation, workers_min=1, workers_max=1,
                  contracts={"leaves": {"contract.ts": LEAVES}, **CONTRACTS})
    s.get("/leaves")
    kind = {"Content-Type": "application/json"}
    for i in range(20 if SANITIZED else 60):
        assert s.post("/leaves", json.dumps(i), headers=kind).json() == {"seen": 0}
        a = s.get("/leaves")
        assert a.status == 200, a
        assert a.json()["v"] in (*range(i + 1), None)
        assert run(s, ["get", "k1"], ["keys"]) == [None, []]
    assert not s.log_lines("heard")
    assert s.stats()["audits_failed"] == s.stats()["workers_crashed"] == s.stats()["workers_killed"] == 0


def test_a_deadline_ends_waiting_for_operations(start):
    """Commits that conflict for ever are stopped as anything else."""
    s = server_of(start, deadline_ms=2000 if SANITIZED else 500, contracts={"c": {"get.js": """
exports.get = function () {
	var d = require('tana/data').data;
	return (function again() { return d.get('k' + Math.random()).then(again); })();
};"""}}, operations_max=1000000, operations_bytes_max="1g")
    began = time.monotonic()
    a = s.get("/c")
    assert (a.status, a.code) == (504, "deadline_exceeded")
    assert time.monotonic() - began < 10
    assert s.stats()["workers_killed"] == 0
    assert s.get("/c").status == 504


# -- what goes wrong ---------------------------------------------------------------------------------

def rest_lives(s):
    """All that needs no data works as ever."""
    assert run(s, ["set", "a", 1], ["get", "a"], ["clear"], ["keys"]) == ["undefined", 1, "undefined", []]
    assert s.ctl("ping").stdout == "pong\n"


def test_a_full_database(start):
    s = server_of(start, storage_size="1m", contracts={f"c{i}": {"contract.ts": RUN} for i in range(12)})
    path = s.state_dir / "data" / "data.mdb"
    full = []
    for i in range(12):
        result = run(s, *[["set", f"k{j}", "v" * 10000] for j in range(10)], ["commit"], contract=f"c{i}")[-1]
        if result != "undefined":
            full.append(i)
            assert result == f"Error: Storage is full: {path} has reached storage_size"
    assert full and len(full) < 12
    # Nothing of what failed is there, all of the rest is, and room that is made is used.
    for i in range(12):
        assert len(run(s, ["keys"], contract=f"c{i}")[0]) == (0 if i in full else 10)
    assert "has reached storage_size" in s.status()["storage"]
    assert s.log_lines("error front", "has reached storage_size")


@pytest.fixture
def disk(tmp_path):
    """A file system of 1 MB."""
    if not ROOT:
        pytest.skip("a file system of its own size needs root")
    path = tmp_path / "disk"
    path.mkdir()
    for p in [tmp_path, *tmp_path.parents[:2]]:
        p.chmod(p.stat().st_mode | 0o055)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=755", "tmpfs", path], capture_output=True,
                          text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"this root may not mount: {done.stderr.strip()}")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


@pytest.mark.parametrize("left", [0, 4096, 16384, 20480, 32768])
def test_a_disk_that_is_full_from_the_beginning(start, disk, left):
    (disk / "data").mkdir(mode=0o700)
    shutil.chown(disk / "data", "www-data", "www-data")
    filler = disk / "filler"
    with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as f:
        while True:
            f.write(bytes(4096))
    os.truncate(filler, filler.stat().st_size - left)
    s = server_of(start, state_dir=disk)
    results = run(s, ["get", "a"], ["set", "a", "v" * 9000], ["commit"], ["keys"])
    assert results[2].startswith(f"Error: Storage is full: {disk}/data/data.mdb: ")
    rest_lives(s)
    filler.unlink()
    until("it goes on", lambda: run(s, ["set", "a", 1], ["commit"])[1] == "undefined")
    assert run(s, ["entries"]) == [[["a", 1]]]
    assert s.status()["storage"] == "ok"
    assert s.stop() == 0


def test_a_full_disk(start, disk):
    s = server_of(start, state_dir=disk, contracts={f"c{i}": {"contract.ts": RUN} for i in range(12)})
    results = [run(s, *[["set", f"k{j}", "v" * 10000] for j in range(10)], ["commit"], contract=f"c{i}")[-1]
               for i in range(12)]
    assert results[0] == "undefined"
    assert results[-1] == f"Error: Storage is full: {disk}/data/data.mdb: No space left on device"
    for i, result in enumerate(results):
        assert len(run(s, ["keys"], contract=f"c{i}")[0]) == (10 if result == "undefined" else 0)
    # With room again it goes on, without a restart.
    subprocess.run(["mount", "-o", "remount,size=16m", disk], check=True)
    assert run(s, ["set", "a", 1], ["commit"], ["keys"], contract="c11") == ["undefined", "undefined", ["a"]]
    assert s.status()["storage"] == "ok"
    assert s.stop() == 0


def test_a_directory_that_cannot_be_written(start, tmp_path):
    """A file where the directory should be stops root, too."""
    state = tmp_path / "state"
    state.mkdir()
    (state / "data").write_text("not a directory")
    state.chmod(0o755)
    tmp_path.chmod(0o755)
    for p in tmp_path.parents[:2]:
        p.chmod(p.stat().st_mode | 0o055)
    s = server_of(start, state_dir=state)
    text = f"Storage failed: {state}/data/data.mdb: Not a directory"
    assert run(s, ["get", "a"], ["keys"], ["entries"], ["set", "a", 1], ["commit"]) == \
        [f"Error: {text}"] * 3 + ["undefined", f"Error: {text}"]
    rest_lives(s)
    assert s.status()["storage"] == text
    assert s.log_lines("error front", text)


@pytest.mark.skipif(not ROOT, reason="only root runs the server as somebody else")
def test_a_directory_of_somebody_else(start, tmp_path):
    state = tmp_path / "state"
    (state / "data").mkdir(parents=True)
    (state / "data").chmod(0o700)
    tmp_path.chmod(0o755)
    for p in tmp_path.parents[:2]:
        p.chmod(p.stat().st_mode | 0o055)
    s = server_of(start, state_dir=state)
    text = f"Storage failed: {state}/data/data.mdb: Permission denied"
    assert run(s, ["get", "a"], ["set", "a", 1], ["commit"]) == [f"Error: {text}", "undefined", f"Error: {text}"]
    rest_lives(s)
    assert s.status()["storage"] == text


def garbage(path):
    path.write_bytes(os.urandom(path.stat().st_size))


def zeros(path):
    path.write_bytes(bytes(path.stat().st_size))


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def middle(path):
    """Both meta pages as they were, noise behind them."""
    with open(path, "r+b") as f:
        f.seek(8192)
        f.write(os.urandom(path.stat().st_size - 8192))


def empty_text(path):
    path.write_text("x")


@pytest.mark.parametrize("spoil", [garbage, zeros, cut, middle, empty_text])
def test_a_corrupted_file(start, spoil):
    s = server_of(start)
    run(s, *[["set", f"k{i}", "v" * 2000] for i in range(40)], ["commit"])
    assert s.stop() == 0
    path = s.state_dir / "data" / "data.mdb"
    spoil(path)
    s = start(base=s, **SLOW)
    results = run(s, ["get", "a"], ["set", "a", 1], ["commit"])
    assert results[0].startswith(f"Error: Storage failed: {path}: ")
    assert results[2] == results[0]
    rest_lives(s)
    assert str(path) in s.status()["storage"]
    assert s.log_lines("error front", str(path))
    assert s.ctl("backup", str(s.dir / "copy"), check=False).returncode == 1
    assert not (s.dir / "copy").exists()


# -- tana-ctl -----------------------------------------------------------------------------------------

def test_ctl_storage(start):
    s = server_of(start)
    run(s, ["set", "a", "12345"], ["set", "bc", 1], ["commit"])
    run(s, ["set", "x", None], ["commit"], contract="other")
    shown = json.loads(s.ctl("storage", "--json").stdout)
    path = str(s.state_dir / "data" / "data.mdb")
    assert {k: shown[k] for k in ("path", "state", "durability", "contracts", "keys", "bytes", "sequence", "commits",
                                  "conflicts", "batches", "syncs", "size_max")} == \
        {"path": path, "state": "ok", "durability": "always", "contracts": 2, "keys": 3, "bytes": 14, "sequence": 2,
         "commits": 2, "conflicts": 0, "batches": 2, "syncs": 2, "size_max": 1 << 30}
    assert 0 < shown["size"] <= os.stat(path).st_size
    lines = s.ctl("storage").stdout.splitlines()
    assert [line.split() for line in lines if line.startswith("keys")] == [["keys", "3"]]
    assert s.status()["storage"] == "ok"


def test_backup_while_it_is_written_and_restore(start):
    s = server_of(start, commit_retries=100, deadline_ms=60000)
    s.get("/count")
    run(s, *[["set", f"k{i}", "v" * 9000] for i in range(11)], ["commit"])
    file = s.dir / "backup"
    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(s.post, "/count") for _ in range(100)]
        size = int(s.ctl("backup", str(file)).stdout.split()[0])
        assert all(w.result().status == 200 for w in writers)
    assert file.stat().st_size == size
    assert file.stat().st_mode & 0o777 == 0o600
    assert s.get("/count").json() == 100
    # A file that is there stays as it is.
    before = file.read_bytes()
    again = s.ctl("backup", str(file), check=False)
    assert (again.returncode, file.read_bytes()) == (1, before)
    assert "File exists" in again.stderr
    assert s.stop() == 0
    done = subprocess.run([*s.command, "--restore-storage", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    s = start(base=s, **SLOW)
    assert 0 <= s.get("/count").json() <= 100
    assert len(run(s, ["keys"])[0]) == 11
    assert s.post("/count").status == 200


def test_restore_takes_no_file_that_is_none_and_no_running_servers_place(start):
    s = server_of(start)
    run(s, ["set", "a", 1], ["commit"])
    file = s.dir / "backup"
    s.ctl("backup", str(file))
    restore = [*s.command, "--restore-storage"]
    done = subprocess.run([*restore, str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 4 and "run_dir" in done.stderr, done
    assert s.stop() == 0
    bad = s.dir / "bad"
    bad.write_bytes(file.read_bytes()[:5000])
    for what in (bad, s.dir / "none", s.config_path.parent):
        done = subprocess.run([*restore, str(what)], capture_output=True, text=True, check=False)
        assert done.returncode == 1 and str(what) in done.stderr, done
    s = start(base=s, **SLOW)
    assert run(s, ["get", "a"]) == [1]


# -- kill -9 -------------------------------------------------------------------------------------------

PAIRS = """
import { data } from 'tana/data';
export async function post(req, n) {
	await data.set('a' + n % 50, n);
	await data.set('b' + n % 50, n);
	await data.commit();
	return n;
}
export async function get() {
	return await data.entries();
}
"""
KILLS = int(os.environ.get("TANA_KILLS", "20"))


def test_no_commit_is_lost_or_half_there_after_kill_9(start):
    """The whole tree at once, under load.  TANA_KILLS: how often (default 20)."""
    options = {"workers_min": 4, "commit_retries": 100, "log_level": "warn", **SLOW}
    s = start({"pairs": {"contract.ts": PAIRS}}, **options)
    assert s.get("/pairs").json() == []
    acknowledged, sent = {}, {}
    n = 0
    for turn in range(KILLS):
        s.broken = True

        def write(k):
            """Keys of its own, so that the order of what it wrote is known."""
            nonlocal n
            while True:
                n += 1
                value = n * 50 + k
                sent[k] = value
                try:
                    a = s.post("/pairs", json.dumps(value), headers={"Content-Type": "application/json"}, timeout=5)
                except Exception:
                    return
                if a.status != 200:
                    return
                acknowledged[k] = value

        with ThreadPoolExecutor(8) as pool:
            writers = [pool.submit(write, k) for k in range(8)]
            time.sleep(0.05 + turn % 10 * 0.02)
            for p in [s.master, *s.family()]:
                try:
                    os.kill(p.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            for w in writers:
                w.result()
        s.proc.wait()
        until("all its processes are gone", lambda: not s.survivors())
        s.start()
        s.wait_serving()
        entries = dict(map(tuple, s.get("/pairs").json()))
        for k in range(8):
            a, b = entries.get(f"a{k}"), entries.get(f"b{k}")
            assert a == b, f"half a commit after {turn + 1} kills"
            if k in acknowledged:
                assert a is not None and acknowledged[k] <= a <= sent[k], f"lost after {turn + 1} kills"
    assert len(acknowledged) == 8
    assert s.status()["storage"] == "ok"


# -- workers that lie --------------------------------------------------------------------------------------

def texts(*all_):
    return "".join(len(t).to_bytes(4, "big").decode("latin-1") + t for t in all_)


def fake(start, *steps):
    return start({"c": {"get.js": "exports.get = function () {};"}}, workers_min=1, fake={"workers": {"*": {
        "invoke": [["start"], *steps, ["reply", 200, [], "done"], ["restored"]]}}})


@pytest.mark.parametrize("frame", [
    [11, 4711, 1, 1, {"bin": texts("k")}],		# of a request that it has not
    [12, "$id", 1, 0, {"bin": ""}],			# the front's to send
    [11, "$id", 1, 1, "text"], [11, "$id", 1, 1], [11, "$id", -1, 1, {"bin": ""}],
])
def test_a_frame_that_no_worker_sends_ends_it(start, frame):
    s = fake(start, ["frame", frame], ["hang"])
    assert s.get("/c").status == 502
    until("it is counted", lambda: s.stats()["workers_killed"] >= 1)


@pytest.mark.parametrize("kind,payload,outcome,text", [
    (1, texts("k"), 0, texts("0")),
    (1, "", 1, "malformed operation"),
    (1, texts("k", "k"), 1, "malformed operation"),
    (1, "\0\0\0\x09k", 1, "malformed operation"),
    (1, texts("k" * 257), 1, "Key too large: 257 bytes (max 256)"),
    (2, "", 0, texts("0")), (3, "", 0, texts("0")),
    (4, texts("r", "k"), 1, "malformed operation"),
    (4, texts("s", "k", "s" * 10242), 1, "Value too large: 10241 bytes (max 10240)"),
    (4, texts("s", "k", "sv"), 0, texts("1")),
    (4, texts("r", "k", "99", "s", "k", "sv"), 2, ""),
    (99, "", 1, "unknown operation"), (0, "", 1, "unknown operation"),
])
def test_operations_as_a_worker_may_send_them(start, kind, payload, outcome, text):
    text = texts(text) if outcome == 1 else text
    s = fake(start, ["frame", [11, "$id", 7, kind, {"bin": payload}]], ["await-operated", 7, outcome, text])
    if outcome == 2:
        # It is told to go, and its request comes again until commit_retries are used up; then it is an error.
        s.fake.set({"workers": {"*": {"invoke": [
            ["start"], ["frame", [11, "$id", 7, kind, {"bin": payload}]], ["await-operated", 7, None, None],
            ["reply", 200, [], "done"], ["restored"]]}}})
        s.ctl("recycle", "--all")
        a = s.get("/c")
        assert (a.status, a.text) == (200, "done")
        assert s.stats()["reruns"] == 3
        return
    a = s.get("/c")
    assert (a.status, a.text) == (200, "done"), s.log[-2000:]
    assert s.stats()["workers_killed"] == s.stats()["workers_crashed"] == 0


def test_a_worker_that_replies_conflict_of_its_own_accord_has_failed(start):
    errors = (SOURCE / "common/errors.def").read_text()
    number = [line.split("(")[1].split(",")[0] for line in errors.splitlines()
              if line.startswith("TN_FAULT(")].index("CONFLICT") + 1
    s = start({"c": {"get.js": "exports.get = function () {};"}}, workers_min=1, fake={"workers": {"*": {
        "invoke": [["start"], ["reply", 0, [], "", number, "again, please"], ["restored"]]}}})
    a = s.get("/c")
    assert (a.status, a.code) == (500, "conflict")
    assert s.stats()["reruns"] == 0


def test_a_worker_that_asks_and_never_reads_is_ended(start):
    s = fake(start, *[["frame", [11, "$id", i + 1, 1, {"bin": texts("k")}]] for i in range(3)], ["ask-forever"])
    assert s.get("/c").status in (502, 504)
    until("it is counted", lambda: s.stats()["workers_killed"] >= 1)
    assert s.ctl("ping").stdout == "pong\n"
