"""Who serves: reserves, workers of one contract or one request, and one zygote after another."""

import json
import os
import signal
import subprocess
import time

import pytest

from conftest import BUILD, SANITIZED, until
from load import Load

WHO = {"get.js": """
var count = 0;
exports.get = function (req) { return { count: ++count }; };
"""}
SLOW = {"get.js": """
exports.get = function (req) {
	return new Promise(function (ok) { setTimeout(function () { ok('slow'); }, 300); });
};
"""}
GROWS = {"get.js": """
exports.get = function (req) {
	var a = new Uint8Array(20 << 20), i;
	for (i = 0; i < a.length; i += 4096)
		a[i] = 1;
	return a.length;
};
"""}


def isolated(isolation, files=WHO):
    return {**files, "contract.json": json.dumps({"isolation": isolation})}


def states(s):
    return sorted(w["state"] for w in s.workers())


def settled(s, workers):
    until(f"{workers} workers are ready", lambda: len(states(s)) == workers
          and set(states(s)) <= {"idle", "standby"})


# -- reserves --------------------------------------------------------------------------

def test_a_reserve_replaces_the_only_worker_that_was_killed(start):
    s = start({"who": WHO}, workers_min=1, workers_max=1, workers_standby=1)
    settled(s, 2)
    assert states(s) == ["idle", "standby"]
    for _ in range(5):
        s.get("/who")
        only, = (w["pid"] for w in s.workers() if w["state"] == "idle")
        reserve, = (w["pid"] for w in s.workers() if w["state"] == "standby")
        os.kill(only, signal.SIGKILL)
        a = s.get("/who")
        assert a.status == 200 and a.json() == {"count": 1}
        assert [w["pid"] for w in s.workers() if w["contract"] == "who"] == [reserve]
        settled(s, 2)


def test_no_reserve_is_used_up_by_ordinary_requests(start):
    s = start({"who": WHO}, workers_min=2, workers_max=2, workers_standby=2)
    settled(s, 4)
    before = {w["pid"] for w in s.workers() if w["state"] == "standby"}
    for _ in range(20):
        s.get("/who")
    assert {w["pid"] for w in s.workers() if w["state"] == "standby"} == before


# -- what contract.json asks for ---------------------------------------------------------

def test_a_contract_that_asks_for_a_process_gets_one_for_each_request(start):
    s = start({"alone": isolated("process"), "who": WHO}, workers_min=1, workers_standby=1)
    settled(s, 2)
    started = s.stats()["workers_started"]
    for _ in range(5):
        assert s.get("/who").json() == {"count": 1}
        assert s.get("/alone").json() == {"count": 1}
    until("each has had its own", lambda: s.stats()["workers_started"] >= started + 5)
    assert s.stats()["workers_crashed"] == 0
    assert {c["contract"]: c["isolation"] for c in json.loads(s.ctl("contracts", "--json").stdout)} == \
        {"alone": "process", "who": "snapshot"}


def test_many_that_want_processes_at_once_all_get_them_within_workers_max(start):
    s = start({"alone": isolated("process", SLOW)}, workers_min=1, workers_max=4, workers_standby=1)
    settled(s, 2)
    asked = [s.begin("GET", "/alone") for _ in range(12)]
    most = 0
    while s.stats()["requests_2xx"] < 12:
        most = max(most, sum(w["state"] != "draining" for w in s.workers()))
    assert [a.finish().status for a in asked] == [200] * 12
    assert 2 <= most <= 5


def test_a_contract_that_asks_for_a_new_heap_gets_one(start):
    s = start({"fresh": isolated("fresh"), "who": WHO}, workers_min=1)
    for _ in range(3):
        assert s.get("/fresh").json() == {"count": 1}
        assert s.get("/who").json() == {"count": 1}
    assert s.stats()["audits_failed"] == 0


def test_a_contract_that_keeps_its_heap_leaves_nothing_to_others(start):
    s = start({"keeps": isolated("reuse"), "who": WHO, "keeps-too": isolated("reuse")},
              workers_min=1, workers_max=1, isolation_allowed="reuse")
    assert [s.get("/keeps").json()["count"] for _ in range(3)] == [1, 2, 3]
    assert s.get("/who").json() == {"count": 1}
    assert s.get("/keeps-too").json() == {"count": 1}
    assert [s.get("/who").json() for _ in range(2)] == [{"count": 1}] * 2
    assert s.stats()["audits_failed"] == 0


def test_a_weaker_isolation_than_the_servers_is_refused_and_says_so(start):
    s = start({"keeps": isolated("reuse"), "odd": isolated("airtight")})
    for contract, why in (("keeps", "weaker than the server's (snapshot)"), ("odd", "none of snapshot")):
        a = s.get("/" + contract)
        assert a.status == 500 and a.code == "contract_unusable"
        assert why in s.log


# -- a worker for each contract ------------------------------------------------------------

def test_with_tenancy_contract_no_worker_serves_two_contracts(start):
    ids = [f"c{i}" for i in range(5)]
    s = start({c: WHO for c in ids}, workers_min=1, workers_max=3, workers_standby=1, worker_tenancy="contract")
    served = {}
    for i in range(30):
        assert s.get("/" + ids[i * 7 % 5]).json() == {"count": 1}
        for w in s.workers():
            if w["contract"]:
                assert served.setdefault(w["pid"], w["contract"]) == w["contract"]
    assert len(set(served.values())) == 5
    assert s.stats()["workers_crashed"] == 0


# -- a contract that kills workers ---------------------------------------------------------

def test_a_contract_that_kills_its_workers_is_quarantined_alone(start):
    """(A contract cannot kill a worker by itself: the test does it for the one that sleeps.)"""
    s = start({"killer": SLOW, "who": WHO}, workers_min=1, workers_max=1, workers_standby=1, breaker_deaths=3,
              breaker_pause_ms=60000)
    settled(s, 2)
    for _ in range(3):
        asked = s.begin("GET", "/killer")
        until("it runs", lambda: any(w["state"] == "busy" for w in s.workers()))
        os.kill(next(w["pid"] for w in s.workers() if w["state"] == "busy"), signal.SIGKILL)
        assert asked.finish().status == 502
    a = s.get("/killer")
    assert a.status == 503 and a.code == "contract_quarantined" and 50 <= int(a.headers["retry-after"]) <= 61
    assert s.get("/who").status == 200
    contracts = {c["contract"]: c["state"] for c in json.loads(s.ctl("contracts", "--json").stdout)}
    assert contracts == {"killer": "quarantined", "who": "serving"}
    assert s.stats()["requests_quarantined"] == 1
    s.wait_log("contract quarantined", "contract=killer")
    assert s.ctl("reset", "killer").stdout == "killer is run again\n"
    assert s.get("/killer").status == 200
    done = s.ctl("reset", "nobody", check=False)
    assert done.returncode == 1 and "no such contract" in done.stderr


def test_a_new_version_of_a_quarantined_contract_is_run(start):
    s = start({"killer": SLOW}, workers_min=1, breaker_deaths=1, breaker_pause_ms=60000)
    asked = s.begin("GET", "/killer")
    until("it runs", lambda: any(w["state"] == "busy" for w in s.workers()))
    os.kill(next(w["pid"] for w in s.workers() if w["state"] == "busy"), signal.SIGKILL)
    assert asked.finish().status == 502
    assert s.get("/killer").status == 503
    s.write("killer", WHO)
    s.ctl("reload", "killer")
    assert s.get("/killer").json() == {"count": 1}


# -- how many ---------------------------------------------------------------------------------

def test_ondemand_forks_when_asked_and_ends_when_idle(start):
    s = start({"who": WHO}, pool="ondemand", workers_max=4, workers_idle_ms=300)
    assert s.workers() == []
    assert s.get("/who").json() == {"count": 1}
    assert len(s.workers()) == 1
    until("it is gone again", lambda: s.workers() == [])
    assert s.get("/who").json() == {"count": 1}
    assert s.stats()["workers_crashed"] == 0


# -- memory ------------------------------------------------------------------------------------

def test_a_worker_that_has_grown_is_replaced(start):
    s = start({"grows": GROWS, "who": WHO}, workers_min=1, workers_max=1, worker_private_max="8m")
    s.get("/who")
    before = s.workers()[0]["pid"]
    assert s.get("/grows").json() == 20 << 20
    until("another has taken its place", lambda: [w["pid"] for w in s.workers()] not in ([before], []))
    assert s.stats()["workers_crashed"] == 0
    until("its memory was looked at", lambda: 0 < s.stats()["workers_private_bytes"] < 8 << 20)
    assert s.stats()["workers_shared_bytes"] > 0


# -- generations ---------------------------------------------------------------------------------

def test_rotation_under_load_loses_nothing(start):
    s = start({"who": WHO, "slow": SLOW}, workers_min=2, workers_standby=1)
    first = s.status()["generation"]
    slow = s.begin("GET", "/slow")
    with Load(s, "/who", clients=3) as load:
        for i in range(2 if SANITIZED else 5):
            load.wait(1)
            assert s.ctl("rotate").stdout.strip() == f"generation {first + i + 1} serves"
            load.wait(1)
    assert slow.finish().json() == "slow"
    assert {w["generation"] for w in s.workers() if w["state"] != "draining"} == {s.status()["generation"]}
    until("the old zygotes have ended", lambda: s.log.count("has ended") >= (2 if SANITIZED else 5))
    stats = s.stats()
    assert stats["requests_5xx"] == 0 and stats["requests_redispatched"] == 0
    assert stats["workers_crashed"] == stats["workers_killed"] == 0


def test_a_new_generation_has_the_images_before_it_takes_over(start):
    ids = [f"c{i:02}" for i in range(12)]
    s = start({c: WHO for c in ids}, workers_min=1)
    for c in ids:
        s.get("/" + c)
    s.ctl("rotate")
    built = s.stats()["images_built"]
    assert built == 24 and s.stats()["images"] == 12
    for c in ids:
        assert s.get("/" + c).json() == {"count": 1}
    assert s.stats()["images_built"] == built


def test_a_crashed_worker_brings_a_new_generation_but_not_at_once(start):
    s = start({"who": WHO}, workers_min=1, zygote_lifetime_min=3)
    first = s.status()["generation"]
    begun = time.monotonic()
    os.kill(s.workers()[0]["pid"], signal.SIGTRAP)	# no sanitizer catches it
    assert s.get("/who").json() == {"count": 1}
    until("another zygote", lambda: s.status()["generation"] > first)
    assert time.monotonic() - begun < 30
    assert s.get("/who").json() == {"count": 1}


@pytest.mark.parametrize("victim", ["the old", "the new"])
def test_a_zygote_that_is_killed_during_a_rotation_costs_no_more_than_its_own(start, victim):
    ids = [f"c{i:02}" for i in range(30)]
    s = start({c: WHO for c in ids}, workers_min=1)
    for c in ids:
        s.get("/" + c)
    old = set(s.zygote_pids())
    rotation = subprocess.Popen([BUILD / "tana-ctl", "-s", s.run_dir / "control.sock", "rotate"])
    until("the new zygote is there", lambda: set(s.zygote_pids()) - old)
    os.kill((old if victim == "the old" else set(s.zygote_pids()) - old).pop(), signal.SIGKILL)
    rotation.wait(60)
    s.broken = True		# it says so in its log
    until("it serves", lambda: s.get("/c00").status == 200)
    for c in ids:
        assert s.get("/" + c).json() == {"count": 1}
