"""Workers and zygotes that do everything wrong: the server and its other clients must not notice.

Most tests use one server whose (fake) worker does what the request's body says.
"""

import http.client
import json
import os
import re
import signal
import socket
import struct
import threading

import msgpack
import pytest
from conftest import FAKE, PATIENCE, SOURCE, alive, process, until

# The contract is never run: the fake builder says that it has get and post.
CONTRACTS = {"c": {"contract.js": "exports.get = function () { return 1; };"},
             "d": {"contract.js": "exports.get = function () { return 2; };"}}


def faults():
    """Number, status and code of each fault, by its name in errors.def."""
    table = re.findall(r"^TN_FAULT\((\w+),\s*(\d+),\s*\"(\w+)\"",
                       (SOURCE / "common/errors.def").read_text(), re.M)
    return {name: (n, int(status), code) for n, (name, status, code) in enumerate(table, 1)}


FAULT = faults()
IMAGE = {"bin": "an image"}


@pytest.fixture(scope="module")
def puppet(start_module):
    s = start_module(CONTRACTS, fake={}, workers_min=1, workers_max=4, deadline_ms=1000,
                     deadline_grace_ms=50, queue_timeout_ms=20000)
    s.flags = s.dir / "flags"
    s.flags.mkdir()
    s.flags.chmod(0o777)		# the fake is another user
    return s


def play(server, *steps, path="/c", **kw):
    return server.post(path, list(steps), headers={"content-type": "text/plain"}, **kw)


def count(server, name):
    return server.stats()[name]


def assert_serves(server):
    a = server.get("/c")
    assert a.status == 200 and a.json()["fake"]


def test_fake_speaks_the_headers_protocol():
    """The fake's numbers are those of the C headers."""
    text = FAKE.read_text()
    header = (SOURCE / "common/tn_zygote.h").read_text()
    magic = re.search(r"TN_ZY_MAGIC\s+(0x[0-9a-f]+)u", header).group(1)
    assert int(re.search(r"^MAGIC = (\w+)", text, re.M).group(1), 16) == int(magic, 16)
    version = re.search(r"TN_FRAMES_VERSION (\d+)", (SOURCE / "common/frames.def").read_text())
    assert re.search(r"^FRAMES_VERSION = (\d+)", text, re.M).group(1) == version.group(1)
    assert int(re.search(r"INTERNAL = (\d+)", text).group(1)) == FAULT["INTERNAL"][0]


def test_fake_answers(puppet):
    a = puppet.get("/c/some/where")
    assert a.status == 200
    assert a.json()["contract"] == "c"
    assert a.json()["function"] == "get"
    assert a.json()["path"] == "/some/where"


# -- death ------------------------------------------------------------------------

def test_death_after_start_is_502_for_that_request_alone(puppet):
    crashed = count(puppet, "workers_crashed")
    a = play(puppet, ["start"], ["exit", 1])
    assert (a.status, a.code) == (502, "worker_died")
    assert a.headers["x-request-id"] == a.json()["error"]["requestId"]
    assert_serves(puppet)
    until("the death is counted", lambda: count(puppet, "workers_crashed") > crashed)


def test_death_by_signal_is_logged_with_the_signal(puppet):
    assert play(puppet, ["start"], ["kill", "SIGSEGV"]).status == 502
    puppet.wait_log("worker died", f"signal={int(signal.SIGSEGV)}", "contract=c")


def test_death_before_start_is_dispatched_again(puppet):
    before = count(puppet, "requests_redispatched")
    a = play(puppet, ["once", str(puppet.flags / "redispatch"), [["exit", 1]]])
    assert a.status == 200 and a.json()["fake"]
    assert count(puppet, "requests_redispatched") == before + 1


def test_a_request_that_kills_each_worker_before_it_starts_is_given_up(puppet):
    """It must not walk through the pool for ever."""
    a = play(puppet, ["exit", 1])
    assert (a.status, a.code) == (502, "worker_died")
    assert_serves(puppet)


def test_exit_without_an_answer_is_502_even_if_it_looks_clean(puppet):
    assert play(puppet, ["start"], ["exit", 0]).status == 502
    assert_serves(puppet)


def test_an_answer_and_then_death_is_still_an_answer(puppet):
    a = play(puppet, ["start"], ["reply", 200, ["content-type", "text/plain"], "last words"],
             ["kill", "SIGKILL"])
    assert (a.status, a.text) == (200, "last words")
    assert_serves(puppet)


def test_closed_channel_counts_as_death_and_the_process_is_killed(puppet):
    pids = set(puppet.worker_pids())
    a = play(puppet, ["start"], ["close"], ["hang"])
    assert a.status == 502
    assert_serves(puppet)
    until("the silent worker is gone", lambda: any(process(p) is None for p in pids))


@pytest.mark.parametrize("word", ["free", "revoked", "12345678901"])
def test_a_lie_about_the_slot_makes_it_count_as_started(puppet, word):
    """Only (id, QUEUED) means that the request may be given to another worker."""
    before = count(puppet, "requests_redispatched")
    assert play(puppet, ["slot", word], ["exit", 1]).status == 502
    assert count(puppet, "requests_redispatched") == before
    assert_serves(puppet)


def test_idle_worker_that_dies_is_replaced(puppet):
    assert_serves(puppet)
    victim = puppet.get("/c") and puppet.workers()[0]["pid"]
    os.kill(victim, signal.SIGKILL)
    until("another is idle", lambda: any(w["pid"] != victim and w["state"] == "idle"
                                         for w in puppet.workers()))
    until("the dead one is no longer listed",
          lambda: victim not in [w["pid"] for w in puppet.workers()])
    assert_serves(puppet)


# -- broken frames ------------------------------------------------------------------

def frame_bytes(body):
    return (struct.pack(">I", len(body)) + body).hex()


BROKEN = {
    "garbage": frame_bytes(b"\xc1\xc1\xc1\xc1"),
    "not an array": frame_bytes(b"\xa5hello"),
    "empty": frame_bytes(b""),
    "empty array": frame_bytes(b"\x90"),
    "length beyond the limit": "ffffffff",
    "unknown number": frame_bytes(b"\x92\x4d\x01"),
    "a frame of the other direction": frame_bytes(b"\x92\x06\x01"),
    "too few fields": frame_bytes(b"\x92\x05\x01"),
    "too many fields": frame_bytes(b"\x94\x05\x01\x01\x01"),
    "wrong type of field": frame_bytes(b"\x93\x05\xa1x\x01"),
    "bytes behind the frame": frame_bytes(b"\x93\x05\x01\x01\x00"),
    "deeply nested": frame_bytes(b"\x91" * 10000 + b"\x01"),
    "array that claims four thousand million members": frame_bytes(b"\xdd\xff\xff\xff\xff\x01"),
    "text longer than its frame": frame_bytes(b"\x94\x03\x01\x02\xdb\x00\x01\x00\x00abc"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_frame_ends_the_worker_and_nothing_else(puppet, what):
    killed = count(puppet, "workers_killed")
    a = play(puppet, ["start"], ["raw", BROKEN[what]], ["hang"])
    assert (a.status, a.code) == (502, "worker_died")
    assert_serves(puppet)
    until("it was killed", lambda: count(puppet, "workers_killed") > killed)


def test_half_a_frame_and_death(puppet):
    assert play(puppet, ["start"], ["raw", "00000100c4"], ["exit", 0]).status == 502
    assert_serves(puppet)


def test_half_a_frame_and_silence_ends_at_the_deadline(puppet):
    a = play(puppet, ["start"], ["raw", "00000100c4"], ["hang"])
    assert (a.status, a.code) == (504, "deadline_exceeded")
    assert_serves(puppet)


def test_a_frame_larger_than_any_reply_is_not_collected(puppet):
    a = play(puppet, ["start"], ["flood", 15 << 20], ["hang"])
    assert a.status == 502
    assert_serves(puppet)


# -- lies ---------------------------------------------------------------------------

LIES = {
    "a reply to a request it was not given": [["start"], ["frame", [4, 987654321, 0, "", 200, [], {"bin": "x"}, 0, 0, 0, 0, 0]]],
    "ready again": [["start"], ["ready"]],
    "built, though nobody asked": [["start"], ["frame", [9, "$id", "", 0, ["get"], IMAGE, 1, 1]]],
    "a timer for another request": [["start"], ["frame", [5, 987654321, 1]]],
}


@pytest.mark.parametrize("what", LIES)
def test_lie_ends_the_worker(puppet, what):
    a = play(puppet, *LIES[what], ["hang"])
    assert (a.status, a.code) == (502, "worker_died")
    assert_serves(puppet)


def test_a_second_reply_reaches_nobody(puppet):
    """Neither this client, on the same connection, nor the next."""
    c = puppet.connection()
    steps = [["start"], ["reply", 200, [], "one"], ["reply", 200, [], "two"]]
    c.request("POST", "/c", body=json.dumps(steps), headers={"content-type": "text/plain"})
    assert c.getresponse().read() == b"one"
    c.request("GET", "/c")		# may be with the liar when it is killed for it
    second = json.loads(c.getresponse().read())
    assert second.get("fake") or second["error"]["code"] == "worker_died"
    c.close()
    assert_serves(puppet)


def test_unknown_fault_number_is_our_failure_not_a_crash(puppet):
    a = play(puppet, ["start"], ["reply", 200, [], "", 9999, "nonsense"])
    assert (a.status, a.code) == (500, "internal_error")


@pytest.mark.parametrize("name", ["THREW", "RESULT", "UNSETTLED", "MEMORY", "REPLY_SIZE"])
def test_fault_of_the_table_reaches_the_client_and_its_message_the_log(puppet, name):
    number, status, code = FAULT[name]
    a = play(puppet, ["start"], ["reply", 0, [], "", number, f"secret of {name}"])
    assert (a.status, a.code) == (status, code)
    assert "secret" not in a.text
    puppet.wait_log(f"secret of {name}")


@pytest.mark.parametrize("status", [0, 1, 99, 100, 101, 199, 600, 1000, 65736, 2**32 + 200, 2**64 - 1])
def test_status_that_is_none_is_refused(puppet, status):
    a = play(puppet, ["start"], ["reply", status, [], "x"])
    assert (a.status, a.code) == (500, "invalid_result")


HOSTILE = {
    "newline in a value": ["x-a", "b\r\nx-injected: yes"],
    "bare newline in a value": ["x-a", "b\nx-injected: yes"],
    "bare return in a value": ["x-a", "b\rx-injected: yes"],
    "newline in a name": ["x-a\r\nx-injected", "yes"],
    "colon in a name": ["x-injected: yes\r\nx-b", "c"],
    "empty name": ["", "x-injected"],
    "space in a name": ["x a", "b"],
    "zero byte in a value": ["x-a", "b\0c"],
    "second content length": ["content-length", "3"],
    "transfer encoding": ["transfer-encoding", "chunked"],
    "connection": ["connection", "upgrade", "upgrade", "x"],
    "odd number of texts": ["x-a"],
    "two hundred headers": ["x-a", "b"] * 200,
    "very long value": ["x-a", "b" * 200000],
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_headers_cannot_break_the_connection(puppet, what, monkeypatch):
    """Refused or cleaned, whichever: the answer is one answer, and the next one follows."""
    monkeypatch.setattr(http.client, "_MAXHEADERS", 1000)
    monkeypatch.setattr(http.client, "_MAXLINE", 1 << 20)
    c = puppet.connection()
    steps = [["start"], ["reply", 200, HOSTILE[what], "body"]]
    c.request("POST", "/c", body=json.dumps(steps), headers={"content-type": "text/plain"})
    r = c.getresponse()
    body = r.read()
    assert r.headers["x-injected"] is None
    assert r.headers["transfer-encoding"] is None or "content-length" not in r.headers
    assert len(r.headers.get_all("content-length", [])) <= 1
    assert len(r.headers.get_all("x-request-id")) == 1
    assert (r.status, body) == (200, b"body") or r.status == 500
    if not r.will_close:
        c.request("GET", "/c")
        assert json.loads(c.getresponse().read())["fake"]
    c.close()


def test_invalid_utf8_where_text_should_be(puppet):
    """Refused or replaced: the worker may be killed for it, the server goes on."""
    a = play(puppet, ["start"], ["raw", frame_bytes(b"\x94\x03\x00\x02\xa2\xff\xfe")], ["reply", 200, [], "x"])
    assert a.status in (200, 502)
    assert_serves(puppet)


# -- log --------------------------------------------------------------------------

def test_log_flood_is_limited_and_counted(puppet):
    dropped = count(puppet, "log_dropped")
    a = play(puppet, ["start"], ["log", 5000, "flooding"], ["reply", 200, [], "x"], path="/d")
    assert a.status == 200
    assert len(puppet.log_lines("console", "flooding")) < 1000
    assert count(puppet, "log_dropped") > dropped + 4000


def test_hostile_log_text_stays_one_record(puppet):
    text = "first\nlevel=error msg=\"forged\"\x1b[31m\x00 \" end-of-it"
    assert play(puppet, ["start"], ["log", 1, text], ["reply", 200, [], "x"]).status == 200
    line = puppet.wait_log("console", "end-of-it")[0]
    assert "first" in line and "forged" in line		# no line break between them
    assert "\x1b" not in line and "\0" not in line


def test_log_of_an_unknown_level_or_request_is_still_a_record(puppet):
    a = play(puppet, ["start"], ["log", 1, "odd level", 77],
             ["frame", [3, 424242, 2, "odd request"]], ["reply", 200, [], "x"])
    assert a.status == 200
    puppet.wait_log("odd level")
    puppet.wait_log("odd request")


# -- time ---------------------------------------------------------------------------

def test_timer_frames_are_answered(puppet):
    a = play(puppet, ["start"], ["frame", [5, "$id", 20]], ["await-wake"], ["reply", 200, [], "woken"])
    assert (a.status, a.text) == (200, "woken")


def test_heap_that_differs_after_its_restore_is_reported_and_its_worker_replaced(puppet):
    pid = puppet.workers()[0]["pid"]
    before = count(puppet, "audits_failed")
    a = play(puppet, ["start"], ["reply", 200, [], "x"], ["restored", 3, 17], ["hang"])
    assert a.status == 200					# the answer was right
    until("the audit is counted", lambda: count(puppet, "audits_failed") == before + 1)
    until("it is gone", lambda: pid not in [w["pid"] for w in puppet.workers()])
    assert puppet.log_lines("audit: the heap differs", "pages=3", "first_page=17", f"request_id={a.headers['x-request-id']}")
    assert_serves(puppet)


def test_timer_beyond_all_bounds_ends_at_the_deadline(puppet):
    a = play(puppet, ["start"], ["frame", [5, "$id", 2**63]], ["hang"])
    assert a.status == 504


def test_worker_deaf_to_the_deadline_is_killed(puppet):
    before = puppet.stats()
    a = play(puppet, ["block", "SIGALRM", "SIGTERM"], ["start"], ["hang"])
    assert (a.status, a.code) == (504, "deadline_exceeded")
    assert_serves(puppet)
    until("it was killed", lambda: count(puppet, "workers_killed") > before["workers_killed"])
    assert count(puppet, "deadlines") == before["deadlines"] + 1


def test_worker_that_heeds_the_deadline_lives_on(start):
    s = start(CONTRACTS, fake={}, workers_min=1, workers_max=1, deadline_ms=300, deadline_grace_ms=20000)
    pid = s.worker_pids()
    a = play(s, ["start"], ["await-alarm"], ["reply", 0, [], "", FAULT["DEADLINE"][0], "in time"])
    assert (a.status, a.code) == (504, "deadline_exceeded")
    assert_serves(s)
    assert s.worker_pids() == pid
    assert count(s, "deadlines") == 1


# -- several frames deep ----------------------------------------------------------------

def test_what_was_behind_a_running_one_goes_to_another_worker_when_it_dies(start):
    s = start(CONTRACTS, fake={}, workers_min=1, workers_max=1, worker_depth=4, deadline_ms=30000)
    flag = s.dir / "go"
    running = s.begin("POST", "/c", json.dumps([["start"], ["await-file", str(flag)], ["exit", 1]]),
                      {"content-type": "text/plain"})
    until("it runs", lambda: count(s, "requests_running") == 1)
    behind = [s.begin("GET", "/c") for _ in range(3)]
    until("they are taken back", lambda: count(s, "requests_queued") == 3)
    flag.touch()
    assert running.finish().status == 502
    assert [b.finish().status for b in behind] == [200, 200, 200]


# -- queue and clients ---------------------------------------------------------------

def test_full_queue_and_long_wait_are_503_with_retry_after(start):
    s = start(CONTRACTS, fake={}, workers_min=1, workers_max=1, deadline_ms=60000, queue_max=1,
              queue_timeout_ms=1000)
    flag = s.dir / "go"
    assert_serves(s)		# the image is there: what waits, waits for a worker
    running = s.begin("POST", "/c", json.dumps([["start"], ["await-file", str(flag)], ["reply", 200, [], "x"]]),
                      {"content-type": "text/plain"})
    until("it runs", lambda: count(s, "requests_running") == 1)
    waiting = s.begin("GET", "/c")
    until("one waits", lambda: count(s, "requests_queued") == 1)
    refused = s.get("/c")
    assert (refused.status, refused.code) == (503, "overloaded")
    assert int(refused.headers["retry-after"]) >= 1
    late = waiting.finish()
    assert (late.status, late.code) == (503, "overloaded")
    assert int(late.headers["retry-after"]) >= 1
    assert count(s, "requests_overload") == 2
    flag.touch()
    assert running.finish().status == 200


def test_client_that_leaves_costs_nobody_else_anything(puppet):
    cancelled = count(puppet, "requests_cancelled")
    pending = puppet.begin("POST", "/c", json.dumps([["start"], ["sleep", 0.3], ["reply", 200, [], "x"]]),
                           {"content-type": "text/plain"})
    until("it runs", lambda: count(puppet, "requests_running") == 1)
    pending.leave()
    until("its leaving is seen", lambda: count(puppet, "requests_cancelled") == cancelled + 1)
    until("its worker is free again", lambda: count(puppet, "requests_running") == 0)
    assert_serves(puppet)


# -- before READY -----------------------------------------------------------------------

BEGINNINGS = {
    "wrong generation": [["ready", 1, 4711], ["hang"]],
    "wrong version": [["ready", 99], ["hang"]],
    "a reply first": [["frame", [4, 1, 0, "", 200, [], {"bin": ""}, 0, 0, 0, 0, 0]], ["hang"]],
    "half a ready": [["raw", "0000000393"], ["exit", 0]],
    "garbage": [["raw", "ffffffffff"], ["hang"]],
    "death": [["exit", 1]],
    "death by signal": [["kill", "SIGABRT"]],
    "a closed channel": [["close"], ["hang"]],
}


@pytest.mark.parametrize("what", BEGINNINGS)
def test_bad_beginning_is_followed_by_a_better_worker(start, what):
    s = start(CONTRACTS, fake={"workers": {"1": {"begin": BEGINNINGS[what]}}}, workers_min=1)
    assert_serves(s)
    s.wait_log("died before it was ready")


def test_worker_that_is_never_ready_is_killed_and_replaced(start):
    s = start(CONTRACTS, fake={"workers": {"1": {"begin": [["block", "SIGTERM"], ["hang"]]}}},
              workers_min=1, ready_timeout_ms=200)
    assert_serves(s)
    s.wait_log("not ready after ready_timeout_ms")


def test_deaths_before_ready_double_the_delay_and_a_success_ends_it(start):
    s = start(CONTRACTS, fake={"workers": {"*": {"begin": [["exit", 1]]}}}, workers_min=1, wait=False)
    for delay in (100, 200, 400):
        s.wait_log("died before it was ready", f"next in {delay} ms")
    s.fake.set({})
    s.wait_serving()
    assert_serves(s)


# -- the zygote -------------------------------------------------------------------------

def test_zygote_that_fails_ends_the_server_with_its_reason(start):
    s = start(CONTRACTS, fake={"zygote": [["failed", "seccomp: no such luck"]]}, wait=False)
    s.broken = True
    assert s.wait() == 6
    assert s.log_lines("seccomp: no such luck")


def test_zygote_that_dies_at_once_ends_the_server(start):
    s = start(CONTRACTS, fake={"zygote": [["exit", 3]]}, wait=False)
    s.broken = True
    assert s.wait() == 6


def test_server_whose_zygote_is_never_ready_can_be_stopped(start):
    s = start(CONTRACTS, fake={"zygote": [["hang"]]}, wait=False)
    until("the zygote is there", s.zygotes)
    assert s.stop() == 0


def test_nonsense_from_the_zygote_is_ignored(start):
    s = start(CONTRACTS, fake={"zygote": [["raw", "00"], ["raw", "ff" * 248], ["event", 77, 0],
                                          ["event", 4, 424242], ["event", 3, 424242, 1],
                                          ["ready"], ["ready"]]})
    assert_serves(s)
    s.wait_log("malformed event")


def test_refused_fork_is_tried_again(start):
    s = start(CONTRACTS, fake={"spawn": {"1": [["refuse", 11]]}}, workers_min=1)
    assert_serves(s)
    s.wait_log("cannot fork")


def test_slow_fork_is_waited_for(start):
    s = start(CONTRACTS, fake={"spawn": {"*": [["sleep", 0.4], ["fork"]]}}, workers_min=2)
    assert_serves(s)
    assert len(s.worker_pids()) == 2


def test_exit_reported_of_a_living_worker_is_believed(start):
    """The zygote's word is what the front has; it must not use a worker that is said to be dead."""
    s = start(CONTRACTS, fake={"spawn": {"1": [["fork"], ["sleep", 0.2], ["event", 4, "$worker", 0, 9]]}},
              workers_min=1)
    until("another serves", lambda: s.get("/c").json().get("worker") == 2)


def test_zygote_that_dies_takes_its_workers_and_a_new_generation_serves(start):
    s = start(CONTRACTS, fake={"spawn": {"3": [["exit", 1]]}}, workers_min=2, workers_max=2)
    assert_serves(s)
    generation = s.status()["generation"]
    old = [p for p in s.family() if p.ppid in s.zygote_pids()]
    os.kill(old[0].pid, signal.SIGKILL)			# the third spawn follows
    until("the old workers are gone", lambda: not any(alive(p) for p in old))
    until("there is a new generation", lambda: s.status()["generation"] == generation + 1)
    assert_serves(s)
    assert all(w["generation"] == generation + 1 for w in s.workers())


# -- builders -------------------------------------------------------------------------

BUILDERS = {
    "dies": [["exit", 1]],
    "is killed": [["kill", "SIGSEGV"]],
    "answers nothing and leaves": [["exit", 0]],
    "answers for another build": [["frame", [9, 4711, "", 0, ["get"], IMAGE, 1, 1]], ["hang"]],
    "exports nothing": [["frame", [9, "$id", "", 0, [], IMAGE, 1, 1]]],
    "exports what nobody knows": [["frame", [9, "$id", "", 0, ["constructor", "__proto__"], IMAGE, 1, 1]]],
    "says that it failed": [["frame", [9, "$id", "get.js:1: no", FAULT["COMPILE"][0], [], {"bin": ""}, 1, 1]]],
    "sends no image": [["built", 0]],
    "sends garbage": [["raw", "ffffffff"], ["hang"]],
    "sends what no frame can hold": [["flood", 17 << 20], ["hang"]],
    "answers and then dies badly": [["frame", [9, "$id", "", 0, ["get"], IMAGE, 1, 1]], ["exit", 7]],
}


@pytest.mark.parametrize("what", BUILDERS)
def test_builder_that_fails_makes_the_contract_unusable_and_no_more(start, what):
    s = start(CONTRACTS, fake={"builder": {"invoke": BUILDERS[what]}}, workers_min=1)
    a = s.get("/c")
    assert (a.status, a.code) == (500, "contract_unusable")
    s.wait_log("contract not loaded", "contract=c")
    s.fake.set({})
    assert s.get("/d").status == 200


def test_builder_that_is_never_ready_is_killed_and_the_contract_not_blamed(start):
    s = start(CONTRACTS, fake={"builder": {"begin": [["hang"]]}}, workers_min=1, ready_timeout_ms=300)
    a = s.get("/c")
    assert (a.status, a.code) == (500, "internal_error")
    s.fake.set({})
    until("it is built after all", lambda: s.get("/c").status == 200)


def test_console_of_a_module_level_is_rate_limited(start):
    s = start(CONTRACTS, fake={"builder": {"invoke": [
        ["log", 5000, "chatter"], ["frame", [9, "$id", "", 0, ["get"], IMAGE, 1, 1]]]}}, workers_min=1)
    assert s.get("/c").status == 200
    assert 0 < len(s.log_lines("console", "chatter")) < 1000
    assert count(s, "log_dropped") > 4000


@pytest.mark.parametrize("steps", [
    [["hang"]],
    [["close"], ["hang"]],
], ids=["never answers", "hangs up and stays"])
def test_builder_that_does_not_end_is_killed(start, steps):
    s = start(CONTRACTS, fake={"builder": {"invoke": steps}}, workers_min=1, deadline_ms=200,
              deadline_grace_ms=20, queue_timeout_ms=30000)
    a = s.get("/c")
    assert (a.status, a.code) == (500, "contract_unusable")
    s.fake.set({})
    assert s.get("/d").status == 200
    until("no builder is left", lambda: len(s.worker_pids()) == 1)


# -- images ---------------------------------------------------------------------------

def test_each_contract_runs_on_its_own_image_whatever_makes_room_for_it(start):
    """More contracts than a worker keeps images, in turns of each kind."""
    names = [f"c{i}" for i in range(12)]
    s = start({n: {"contract.js": f"exports.get = '{n}';"} for n in names}, fake={}, workers_min=1, workers_max=1)

    def taken(name):
        a = s.get(f"/{name}").json()
        assert (a["contract"], a["image"]) == (name, f"{name}: exports.get = '{name}';")
        return a["taken"]
    for name in names:
        before = taken(name)
        assert taken(name) == before			# it has it now
    for first, second in zip(names, names[1:] + names[:1]):
        taken(first)
        before = taken(second)
        assert [taken(n) for n in (first, second, first)] == [before] * 3
    before = taken(names[0])
    for name in names:
        taken(name)
    assert taken(names[0]) == before + len(names)	# in a circle that is too wide none stays


def test_worker_that_has_lost_its_images_gets_them_again(start):
    s = start(CONTRACTS, fake={}, workers_min=1, workers_max=1)
    assert s.get("/d").json()["taken"] == 1
    assert play(s, ["start"], ["forget"], ["reply", 200, [], "x"], ["restored"]).status == 200
    a = s.get("/c")
    assert (a.status, a.code) == (500, "internal_error")
    assert [s.get(p).json()["taken"] for p in ("/c", "/d", "/c")] == [3, 4, 4]


def test_new_version_is_served_while_the_old_one_runs(start):
    s = start(CONTRACTS, fake={}, workers_min=1, workers_max=2)
    flag = s.dir / "go"
    old = s.begin("POST", "/c", json.dumps([["await-file", str(flag)], ["answer"]]),
                  {"content-type": "text/plain"})
    until("it runs", lambda: count(s, "requests_running") == 1)
    s.write("c", {"contract.js": "exports.get = 'the second';"})
    s.ctl("reload", "c")
    assert s.get("/c").json()["image"] == "c: exports.get = 'the second';"
    flag.touch()
    assert old.finish().json()["image"] == "c: " + CONTRACTS["c"]["contract.js"]
    for _ in range(4):
        assert s.get("/c").json()["image"] == "c: exports.get = 'the second';"
    assert count(s, "images") == 1


def test_image_as_large_as_a_frame_allows_is_served_and_a_larger_one_refused(start):
    most = (16 << 20) - (1 << 20) - (1 << 20)		# less body_max, less what else is in a frame
    s = start(CONTRACTS, fake={"builder": {"invoke": [["built", most + 1]]}}, workers_min=1)
    a = s.get("/c")
    assert (a.status, a.code) == (500, "memory_limit")
    s.wait_log("contract not loaded", "contract=c", str(most))
    s.fake.set({"builder": {"invoke": [["built", most]]}})
    body = "x" * (1 << 20)
    a = s.post("/d", body, headers={"content-type": "text/plain"})
    assert (a.status, a.json()["image"]) == (200, "x" * 80)
    assert count(s, "images_bytes") == most


# -- what the server is patient with for some seconds; all of them at the same time --------

@pytest.fixture(scope="module")
def sluggards(start_module):
    """Servers, each in the middle of waiting for somebody."""
    stays = [["frame", [9, "$id", "", 0, ["get"], IMAGE, 1, 1]], ["block", "SIGALRM", "SIGTERM"], ["hang"]]
    builder = start_module(CONTRACTS, fake={"builder": {"invoke": stays}}, workers_min=1, queue_timeout_ms=30000)
    builder.pending = builder.begin("GET", "/c")
    retire = start_module(CONTRACTS, fake={"workers": {"1": {"retire": "ignore"}}}, workers_min=1)
    retire.old = set(retire.worker_pids())
    retire.recycling = threading.Thread(target=retire.ctl, args=("recycle", "--all"), daemon=True)
    retire.recycling.start()
    deaf = start_module(CONTRACTS, fake={"deaf": True}, workers_min=1, deadline_ms=200, deadline_grace_ms=10)
    deaf.old = deaf.zygotes()[0]
    deaf.answer = play(deaf, ["start"], ["hang"])
    # It forks one worker, and never another.
    barren = start_module(CONTRACTS, fake={"spawn": {"2": []}}, workers_min=1, ready_timeout_ms=500)
    barren.old = barren.zygotes()[0]
    os.kill(barren.worker_pids()[0], signal.SIGKILL)
    return {"builder": builder, "retire": retire, "deaf": deaf, "barren": barren}


def test_zygote_deaf_to_commands_is_killed_and_replaced(sluggards):
    """It does not kill the worker that it is told to kill: the master kills it."""
    s = sluggards["deaf"]
    assert s.answer.status == 504
    until("the zygote is gone", lambda: not alive(s.old))
    until("the next one serves", lambda: s.get("/c").status == 200)


def test_zygote_that_forks_no_more_is_killed_and_replaced(sluggards):
    s = sluggards["barren"]
    until("the zygote is gone", lambda: not alive(s.old))
    until("the next one serves", lambda: s.get("/c").status == 200)


def test_builder_that_answers_and_stays_is_killed(sluggards):
    s = sluggards["builder"]
    a = s.pending.finish()
    assert (a.status, a.code) == (500, "contract_unusable")
    s.fake.set({})
    assert s.get("/d").status == 200
    until("no builder is left", lambda: len(s.worker_pids()) == 1)


def test_worker_that_ignores_retire_is_killed(sluggards):
    s = sluggards["retire"]
    s.recycling.join(PATIENCE)
    assert not s.recycling.is_alive()
    until("it is gone", lambda: not s.old & set(s.worker_pids()))
    s.wait_log("does not retire")
    assert_serves(s)


# -- the control socket ------------------------------------------------------------------

def test_calls_that_wait_for_their_answers_are_bounded_and_may_be_left(start):
    """No replacement is ever ready: each recycle waits."""
    s = start(CONTRACTS, fake={"workers": {"1": {}, "*": {"begin": [["hang"]]}}}, workers_min=1)
    calls = b"".join(msgpack.packb([0, i, "recycle", [{"all": True}]]) for i in range(300))
    with socket.socket(socket.AF_UNIX) as c:
        c.settimeout(PATIENCE)
        c.connect(str(s.run_dir / "control.sock"))
        c.sendall(calls + msgpack.packb([0, 300, "ping", []]))
        answers, unpacker = {}, msgpack.Unpacker()
        while 300 not in answers:
            unpacker.feed(c.recv(65536))
            answers.update((m[1], m[2]) for m in unpacker)
    assert answers.pop(300) is None
    assert sorted(answers) == list(range(256, 300))
    assert all("too many" in error for error in answers.values())
    assert_serves(s)


# -- the end ---------------------------------------------------------------------------

def test_workers_that_ignore_sigterm_do_not_outlive_the_server(start):
    s = start(CONTRACTS, fake={"workers": {"*": {"begin": [["block", "SIGTERM", "SIGINT", "SIGHUP"], ["ready"]],
                                                 "retire": "ignore"}}}, workers_min=2)
    assert_serves(s)
    family = s.family()
    assert s.stop() == 0
    until("all are gone", lambda: not any(alive(p) for p in family))
