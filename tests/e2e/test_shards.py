"""Several fronts, each with workers of its own, and one server to all who look at it."""

import collections
import http.client
import json
import os
import re
import signal
import socket
import threading
import time
import urllib.request
from pathlib import Path

import msgpack
import pytest
from conftest import PATIENCE, SANITIZED, free_port, process, until
from counted import CONTRACT, Counted
from test_tail import tail  # noqa: F401
from test_upgrade import activated, begin, each_once, more  # noqa: F401

N = 300 if SANITIZED else 2000		# answers between two steps
COUNT = """
import { data } from 'tana/data';
export async function post() {
	const n = (await data.get('n')) ?? 0;
	await data.set('n', n + 1);
	await data.commit();
	return n + 1;
}
export async function get() {
	return (await data.get('n')) ?? 0;
}
"""
SLOW = {"get.js": """
exports.get = function (req) {
	return new Promise(function (resolve) { setTimeout(function () { resolve(1); }, Number(req.query.ms)); });
};
"""}
CONTRACTS = {"id": CONTRACT, "count": {"contract.ts": COUNT}, "slow": SLOW}


def fronts(server):
    """The pid of each shard's front, by its number."""
    found = {int(p.argv[-1]): p.pid for p in server.family()
             if p.ppid == server.proc.pid and p.argv[1:2] == ["--front"] and len(p.argv) == 3}
    return dict(sorted(found.items()))


def connections(server, n):
    """So many, each kept, each answered once: a shard has it by now."""
    made = []
    for i in range(n):
        c = server.connection()
        c.request("GET", f"/id?id={i}")
        r = c.getresponse()
        assert r.status == 200 and json.loads(r.read()) == {"id": str(i)}
        made.append(c)
    return made


def close(connections):
    for c in connections:
        c.close()


def shards(server):
    """What each counts, in their order."""
    rows = server.stats()["shards"]
    assert [r["shard"] for r in rows] == list(range(len(rows)))
    return rows


def settled(server):
    """One of them answers before the others are ready."""
    server.wait_log("serving, pid")
    server.family()
    return server


@pytest.fixture
def start(start):
    return lambda *args, wait=True, **kw: settled(start(*args, **kw)) if wait else start(*args, wait=False, **kw)


@pytest.fixture(scope="module")
def two(start_module):
    port = free_port()
    s = settled(start_module(CONTRACTS, shards=2, workers_min=4, metrics_listen=f"127.0.0.1:{port}"))
    s.metrics_port = port
    return s


def scrape(server):
    time.sleep(0.15)		# a text is kept for 0.1 s
    with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics", timeout=PATIENCE) as r:
        text = r.read().decode()
    assert text.endswith("# EOF\n")
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))


# -- serving -----------------------------------------------------------------------------

def test_two_shards_have_a_front_a_zygote_and_half_of_the_workers_each(two):
    assert list(fronts(two)) == [0, 1]
    assert len(two.zygotes()) == 2
    status = two.status()
    assert status["workers"] == 4
    assert [(r["shard"], r["state"], r["workers"]) for r in status["shards"]] == [(0, "serving", 2), (1, "serving", 2)]
    workers = two.workers()
    assert collections.Counter(w["shard"] for w in workers) == {0: 2, 1: 2}
    assert sorted(w["pid"] for w in workers) == sorted(two.worker_pids())


def test_the_kernel_spreads_connections_and_stats_are_sums(two):
    before = two.stats()
    made = connections(two, 64)
    stats = two.stats()
    rows = stats["shards"]
    try:
        # With 64 the odds that one of two gets less than 8 are below 1 in 10^9.
        assert all(r["connections"] >= 8 for r in rows)
        assert stats["connections"] == 64 == sum(r["connections"] for r in rows)
        assert stats["requests"] == before["requests"] + 64
        for key in ("requests", "requests_2xx", "connections_accepted", "workers", "workers_started", "images"):
            assert stats[key] == sum(r[key] for r in rows), key
        assert stats["contracts"] == max(r["contracts"] for r in rows)
        total = stats["phases"]["total"]
        assert total["count"] == sum(n for _, n in total["buckets"]) == stats["requests"]
        assert total["sum_us"] > 0 and total["p50_us"] <= total["p99_us"] <= total["max_us"]
        row, = [c for c in two_contracts(two) if c["contract"] == "id"]
        assert row["requests"] == row["requests_2xx"] >= 64 and row["state"] == "serving"
    finally:
        close(made)


def two_contracts(server):
    return json.loads(server.ctl("contracts", "--json").stdout)


def test_metrics_are_sums(two):
    close(connections(two, 20))
    stats, metrics = two.stats(), scrape(two)
    assert metrics["tana_edge_requests_total"] == str(stats["requests"])
    assert metrics["tana_edge_workers"] == "4"
    assert metrics["tana_edge_phase_seconds_count{phase=\"total\"}"] == str(stats["phases"]["total"]["count"])
    row, = [c for c in two_contracts(two) if c["contract"] == "id"]
    assert metrics['tana_edge_answers_total{contract="id",status="2xx"}'] == str(row["requests_2xx"])


def test_unix_sockets_are_shared(start):
    s = start(CONTRACTS, shards=2, listen=["127.0.0.1:{port}", "unix:{dir}/a.sock"])
    for i in range(50):
        with socket.socket(socket.AF_UNIX) as c:
            c.connect(str(s.dir / "a.sock"))
            c.sendall(b"GET /id?id=%d HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n" % i)
            got = b""
            while part := c.recv(4096):
                got += part
            assert got.endswith(b'{"id":"%d"}' % i)
    assert s.stats()["requests_2xx"] == 50
    # The client socket, too.
    with socket.socket(socket.AF_UNIX) as c:
        c.connect(str(s.run_dir / "tana.sock"))
        c.sendall(msgpack.packb([0, 1, "invoke", ["id", {"query": "id=x"}]]))
        answer = msgpack.unpackb(c.recv(65536))
        assert answer[:2] == [1, 1]


def test_another_server_is_refused_the_port(two, start):
    s = start(CONTRACTS, wait=False, shards=2, listen=f"127.0.0.1:{two.http_port}")
    s.broken = True
    assert s.wait() == 1
    assert f"cannot listen on 127.0.0.1:{two.http_port}: the address is in use" in s.log


def test_one_shard_is_as_before(start):
    s = start(CONTRACTS, shards=1)
    assert s.get("/id?id=1").status == 200
    assert "shards" not in s.stats() and "shards" not in s.status()
    assert all("shard" not in w for w in s.workers())
    assert s.front_pid()
    assert s.log_lines(" front[") and not s.log_lines(" front 0[")


def test_auto_and_what_cannot_be(start):
    processors = len(os.sched_getaffinity(0))
    s = start(CONTRACTS, shards="auto")
    want = max(1, min(64, processors // 4))
    assert len([p for p in s.family() if "--front" in p.argv]) == want
    assert s.stop() == 0
    s = start(CONTRACTS, wait=False, config="\n\nshards = many\n")
    s.broken = True
    assert s.wait() == 3
    assert f"{s.config_path}:3: shards: \"many\" is neither auto nor a number from 1 to 64" in s.log
    s = start(CONTRACTS, wait=False, shards=64, listen=[f"127.0.0.1:{free_port()}" for _ in range(5)])
    s.broken = True
    assert s.wait() == 3
    assert "shards: 5 addresses to listen on and 64 shards make more than 256 sockets" in s.log


# -- tana-ctl ------------------------------------------------------------------------------

def test_recycle_touches_all_and_finds_a_worker_wherever_it_is(two):
    before = {w["pid"] for w in two.workers()}
    assert two.ctl("recycle", "--all").stdout == "4 workers replaced\n"
    now = two.workers()
    assert len(now) == 4 and before.isdisjoint(w["pid"] for w in now)
    for shard in (0, 1):
        pid = next(w["pid"] for w in two.workers() if w["shard"] == shard)
        assert two.ctl("recycle", str(pid)).stdout == "1 worker replaced\n"
        assert pid not in [w["pid"] for w in two.workers()]
    done = two.ctl("recycle", "1", check=False)
    assert (done.returncode, done.stderr) == (1, "tana-ctl: no worker has this pid\n")


def test_rotate_and_reload_reach_all(two):
    before = [r["generation"] for r in two.status()["shards"]]
    two.ctl("rotate")
    assert [r["generation"] for r in two.status()["shards"]] == [g + 1 for g in before]
    mark = len(two.log)
    two.ctl("reload")
    # It has answered: all have it.
    said = re.findall(r"front (\d)\[\d+\]: configuration and contracts read again", two.log[mark:])
    assert sorted(said) == ["0", "1"]
    close(connections(two, 20))
    two.write("id", {"get.js": "exports.get = function () { return 'new'; };"})
    two.touch("id", "get.js", -5)
    assert two.ctl("reload", "id").stdout == "1 contract\n"
    try:
        for _ in range(20):
            assert two.get("/id").json() == "new"
    finally:
        two.write("id", CONTRACT)
        two.ctl("reload", "id")
    assert two.ctl("reload", "nothere", check=False).stderr == "tana-ctl: no such contract\n"
    assert two.ctl("reset", "nothere", check=False).stderr == "tana-ctl: no such contract was asked for\n"
    assert two.ctl("reset", "id").returncode == 0


def test_a_reload_gives_each_its_part(start):
    s = start(CONTRACTS, config="workers_min = 2\n", shards=2, workers_standby=0)
    s.command = [a for a in s.command]
    assert s.status()["workers"] == 2
    # (-o goes over the file: the option is only in the file then.)
    i = s.command.index("workers_min=2")
    del s.command[i - 1:i + 1]
    assert s.stop() == 0
    s.start()
    s.wait_log("serving, pid", count=2)
    s.config_path.write_text("workers_min = 7\n")
    s.ctl("reload")
    until("there are so many", lambda: [r["workers"] for r in s.status()["shards"]] == [4, 3])


def test_log_names_the_shard_and_tail_has_all(two, tail):  # noqa: F811
    t = tail(two)

    def heard():
        close(connections(two, 4))
        return not t.queue.empty()
    until("tail hears something", heard)
    for i in range(40):
        two.get(f"/id?id={i}", headers={"X-Request-Id": f"tailed-{i}"})
    two.get("/id?id=end", headers={"X-Request-Id": "the-end"})
    lines = until("all is there", lambda: has_all(t, 40, []))
    seen = [line for line in lines if "tailed-" in line and ": request " in line]
    assert sorted(seen) == sorted(line for line in two.log_lines("tailed-") if ": request " in line)
    assert {re.search(r" (front \d)\[", line).group(1) for line in seen} == {"front 0", "front 1"}
    assert re.search(r"master\[\d+\]: shard 1 zygote \d+ started", two.log)
    t.end()
    # Who has heard enough is not sent any more.
    until("nobody follows", lambda: two.get("/id?id=after").status == 200)


def has_all(t, n, lines=[]):
    while not t.queue.empty():
        lines.append(t.queue.get())
    return lines if len({m for line in lines for m in re.findall(r"tailed-\d+", line) if ": request " in line}) == n else None


def test_a_shard_that_hangs_is_told_of_and_not_waited_for(start):
    s = start(CONTRACTS, shards=2, workers_min=2)
    close(connections(s, 10))
    pid = fronts(s)[1]
    os.kill(pid, signal.SIGSTOP)
    try:
        status = s.status()
        assert status["shards"][0]["state"] == "serving" and status["workers"] == 1
        assert status["shards"][1] == {"shard": 1, "error": "does not answer"}
        assert s.stats()["shards"][1] == {"shard": 1, "error": "does not answer"}
        assert s.workers()[-1] == {"shard": 1, "error": "does not answer"}
        assert "does not answer" in s.ctl("workers").stdout
        assert "shard 1 does not answer" in s.ctl("top", "--once").stdout
        done = s.ctl("reset", "id", check=False)
        assert (done.returncode, done.stderr) == (1, "tana-ctl: shard 1 does not answer\n")
        # The first one answers in time what is not asked of all.
        assert s.ctl("ping").stdout == "pong\n"
        assert s.ctl("reload").returncode == 0
        assert s.log_lines("shard 1 has not taken over the configuration yet")
    finally:
        os.kill(pid, signal.SIGCONT)
    until("it answers again", lambda: "error" not in s.status()["shards"][1])
    assert len(s.log_lines("configuration and contracts read again")) == 2


# -- the end of one ------------------------------------------------------------------------

@pytest.mark.parametrize("shard", [0, 1])
def test_a_front_that_is_killed_is_back_and_the_others_serve_on(start, shard):
    s = start(CONTRACTS, shards=2, workers_min=2)
    close(connections(s, 20))
    before = fronts(s)
    other = connections(s, 12)		# some of each; those of the other live on
    os.kill(before[shard], signal.SIGKILL)
    until("it is dead", lambda: process(before[shard]) is None)
    answered = slowest = 0
    while before[shard] == fronts(s).get(shard, before[shard]) or not s.log_lines(f"shard {shard} serving again"):
        begun = time.monotonic()
        assert s.get("/id?id=1").json() == {"id": "1"}
        slowest = max(slowest, time.monotonic() - begun)
        answered += 1
    assert answered > 0
    lived = 0
    for c in other:
        try:
            c.request("GET", "/id?id=2")
            lived += c.getresponse().status == 200
        except (ConnectionError, http.client.HTTPException):
            pass
    close(other)
    assert 0 < lived < 12
    after = fronts(s)
    assert after[1 - shard] == before[1 - shard] and after[shard] != before[shard]
    # It has its own sockets back, and answers at the control socket.
    until("it answers", lambda: all("error" not in r for r in s.status()["shards"]))
    made = connections(s, 64)
    assert all(r["connections"] >= 8 for r in shards(s))
    close(made)


def test_while_one_waits_to_be_started_again_the_next_has_its_connections(start):
    s = start(CONTRACTS, shards=3, workers_min=3)
    for _ in range(4):			# the delay is 1.6 s then
        pid = fronts(s)[1]
        n = len(s.log_lines("shard 1 serving again"))
        os.kill(pid, signal.SIGKILL)
        s.wait_log("shard 1 serving again", count=n + 1)
    os.kill(fronts(s)[1], signal.SIGKILL)
    s.wait_log("front 1 is started again in 1600 ms")
    made = connections(s, 60)
    rows = s.stats()["shards"]
    assert rows[1] == {"shard": 1, "error": "does not answer"}
    assert rows[0]["connections"] + rows[2]["connections"] == 60
    close(made)
    s.wait_log("shard 1 serving again", count=5)
    until("it answers", lambda: all("error" not in r for r in s.status()["shards"]))
    made = connections(s, 90)
    assert all(r["connections"] >= 8 for r in shards(s))
    close(made)


def test_counters_of_metrics_do_not_go_back_when_a_shard_dies(start):
    port = free_port()
    s = start(CONTRACTS, shards=2, metrics_listen=f"127.0.0.1:{port}")
    s.metrics_port = port
    close(connections(s, 40))
    before = scrape(s)
    os.kill(fronts(s)[1], signal.SIGKILL)
    s.wait_log("shard 1 serving again")
    until("it answers", lambda: "error" not in s.status()["shards"][1])
    after = scrape(s)
    for name in before:
        if name.endswith("_total") or "_total{" in name or "_bucket{" in name or "_count" in name:
            assert int(after[name]) >= int(before[name]), name
    close(connections(s, 5))
    assert int(scrape(s)["tana_edge_requests_total"]) == int(after["tana_edge_requests_total"]) + 5


def test_drain_finishes_what_all_have(start):
    s = start(CONTRACTS, shards=2, workers_min=8)
    s.get("/slow?ms=1")
    slow = [s.begin("GET", "/slow?ms=1500") for _ in range(8)]
    until("all run", lambda: s.stats()["requests_running"] == 8)
    assert all(r["requests_running"] > 0 for r in shards(s))
    s.ctl("drain")
    for p in slow:
        assert p.finish().status == 200
    assert s.wait() == 0
    assert sorted(re.findall(r"front (\d)\[\d+\]: all requests are finished", s.log)) == ["0", "1"]
    with pytest.raises(ConnectionError):
        s.get("/id")


def test_a_front_that_cannot_start_is_the_server_s_end(start):
    s = start(CONTRACTS, wait=False, shards=2, worker_program="/bin/false")
    s.broken = True
    assert s.wait() == 6
    assert re.search(r"the server cannot serve: front \d ended while it started", s.log)


# -- upgrades --------------------------------------------------------------------------------

def test_upgrades_to_another_number_of_shards_lose_nothing(begin):  # noqa: F811
    s = begin(contracts=CONTRACTS, config="shards = 1\n")
    with Counted(s.http_port) as load:
        more(load, N // 4)
        for n in (2, 1, 3, 2):
            s.config_path.write_text(f"shards = {n}\n")
            done = s.ctl("reload")
            assert "in force only after an upgrade or a restart: shards" in done.stderr
            s.upgrade()
            assert len(s.status().get("shards", [0])) == n
            more(load, N // 4)
    each_once(s, load)
    # As many sockets as there ever were, each of them accepted on.
    for i in range(60):
        assert s.get(f"/id?id={i}").status == 200


def test_an_upgrade_to_more_shards_that_fails_loses_nothing(begin):  # noqa: F811
    s = begin(contracts=CONTRACTS, config="shards = 1\n")
    slow = s.dir / "slow-worker"
    slow.write_text("#!/bin/sh\nsleep 1\nexit 1\n")
    slow.chmod(0o755)
    with Counted(s.http_port) as load:
        more(load, N // 4)
        s.config_path.write_text(f'shards = 4\nworker_program = "{slow}"\nsandbox = available\n')
        done = s.ctl("upgrade", check=False)
        assert done.returncode == 1 and "ended while it started" in done.stderr
        more(load, N // 4)
        s.config_path.write_text("shards = 3\n")
        s.upgrade()
        more(load, N // 4)
    each_once(s, load)
    assert len(s.status()["shards"]) == 3


def test_a_socket_of_systemd_is_shared_and_none_is_added(begin):  # noqa: F811
    s = settled(begin(contracts=CONTRACTS, config="shards = 2\n"))
    assert s.stop() == 0
    activated(s, [socket.create_server(("127.0.0.1", s.http_port), backlog=128)], "tcp")
    s.wait_log("serving, pid", count=2)
    close(connections(s, 100))
    assert sum(r["connections_accepted"] for r in shards(s)) == 100
    s.upgrade()
    close(connections(s, 20))
    assert sum(r["connections_accepted"] for r in shards(s)) == 20
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    assert len([x for x in lines if x[1].endswith(f":{s.http_port:04X}") and x[3] == "0A"]) == 1
    s.family()
    s.ctl("stop")


# -- data --------------------------------------------------------------------------------------

def count_up(server, times, errors):
    c = server.connection()
    try:
        for _ in range(times):
            c.request("POST", "/count")
            r = c.getresponse()
            body = r.read()
            if r.status != 200:
                errors.append((r.status, body))
    finally:
        c.close()


def test_counters_lose_no_update_between_shards(start):
    s = start(CONTRACTS, shards=2, workers_min=4, commit_retries=100, deadline_ms=60000)
    times, clients, errors = 10 if SANITIZED else 25, 8, []
    threads = [threading.Thread(target=count_up, args=(s, times, errors)) for _ in range(clients)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert errors == []
    assert s.get("/count").json() == clients * times
    storage = json.loads(s.ctl("storage", "--json").stdout)
    assert storage["commits"] == clients * times == sum(r["commits"] for r in storage["shards"])
    assert all(r["commits"] > 0 for r in storage["shards"])
    assert storage["conflicts"] > 0


def test_a_shard_that_is_killed_while_it_writes_holds_nobody_up(start):
    s = start(CONTRACTS, shards=2, workers_min=4, commit_retries=100, deadline_ms=60000)
    done, cut, ending = [0] * 4, [0] * 4, threading.Event()

    def write(i):
        while not ending.is_set():
            try:
                done[i] += s.post("/count").status == 200
            except (ConnectionError, http.client.HTTPException):
                cut[i] += 1
    threads = [threading.Thread(target=write, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    try:
        for _ in range(3):
            n = len(s.log_lines("shard 1 serving again"))
            os.kill(fronts(s)[1], signal.SIGKILL)
            s.wait_log("shard 1 serving again", count=n + 1)
            so_far = sum(done)
            until("more is written", lambda: sum(done) > so_far + 20)  # noqa: B023
    finally:
        ending.set()
        for t in threads:
            t.join()
    # What was answered was done; what was cut off may have been.
    n = s.get("/count").json()
    assert sum(done) <= n <= sum(done) + sum(cut)
    assert json.loads(s.ctl("storage", "--json").stdout)["state"] == "ok"
    assert not s.log_lines("storage error")
