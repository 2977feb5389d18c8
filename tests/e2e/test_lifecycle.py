"""From the first signal to the last: start, reload, growth, recycling, crashes, the end."""

import os
import re
import signal
import subprocess

import pytest
from conftest import BUILD, PATIENCE, SANITIZED, Server, alive, process, until
from load import Load

CONTRACTS = {
    "quick": {"get.js": "exports.get = function () { return { ok: true }; };"},
    "slow": {"get.js": """
exports.get = function (req) {
	return new Promise(function (resolve) {
		setTimeout(function () { resolve({ slept: true }); }, Number(req.query.ms));
	});
};
"""},
    "busy": {"get.js": """
exports.get = function (req) {
	var end = Date.now() + Number(req.query.ms);
	while (Date.now() < end) ;
	return { done: true };
};
"""},
}
N = 20 if SANITIZED else 100		# answers that make a load


@pytest.fixture(scope="module")
def server(start_module):
    return start_module(CONTRACTS, workers_min=3, workers_max=6, deadline_ms=60000, queue_timeout_ms=60000)


def pids(server):
    return {w["pid"] for w in server.workers()}


# -- start ------------------------------------------------------------------------------

def test_pool_is_ready_when_it_listens(server):
    assert len(server.workers()) >= 3
    assert len(server.worker_pids()) >= 3
    assert (server.run_dir / "tana-edge.pid").read_text().strip() == str(server.proc.pid)


def test_control_socket_is_for_its_owner_only(server):
    assert (server.run_dir / "control.sock").stat().st_mode & 0o777 == 0o600


def test_second_start_on_the_same_run_dir_is_refused_with_the_pid_of_the_first(server):
    done = subprocess.run(server.command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 4
    assert str(server.proc.pid) in done.stderr
    assert server.get("/quick").status == 200


def test_port_that_is_taken_is_said_to_be(server, start):
    s = start(CONTRACTS, listen=f"127.0.0.1:{server.http_port}", wait=False)
    s.broken = True
    assert s.wait() != 0
    assert f"127.0.0.1:{server.http_port}" in s.log


def test_zygote_program_that_is_missing_ends_the_start_with_its_name(start):
    s = start(CONTRACTS, worker_program="/nonexistent/tana-worker", wait=False)
    s.broken = True
    assert s.wait() != 0
    assert "/nonexistent/tana-worker" in s.log


def test_ctl_without_a_server_says_so(tmp_path):
    done = subprocess.run([BUILD / "tana-ctl", "-s", tmp_path / "control.sock", "ping"],
                          capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 5
    assert str(tmp_path / "control.sock") in done.stderr and done.stdout == ""


# -- the pool ----------------------------------------------------------------------------

def test_pool_grows_while_requests_queue_and_shrinks_when_idle(start):
    s = start(CONTRACTS, workers_min=1, workers_max=4, workers_idle_ms=300, deadline_ms=60000,
              queue_timeout_ms=60000)
    assert len(s.workers()) == 1
    waiting = [s.begin("GET", "/slow?ms=1500") for _ in range(8)]
    until("it has grown", lambda: len(s.workers()) >= 3)
    assert [w.finish().status for w in waiting] == [200] * 8
    assert len(pids(s)) <= 4
    until("it has shrunk", lambda: len(s.workers()) == 1)
    assert s.get("/quick").status == 200


def test_a_worker_is_recycled_after_max_requests(start):
    s = start(CONTRACTS, workers_min=1, workers_max=2, max_requests=5, max_requests_jitter=0)
    first = pids(s)
    with Load(s, "/quick", clients=2) as load:
        load.wait(12)
        until("the first worker is gone", lambda: not first & pids(s))
    assert load.bad == [] and load.broken == []
    assert s.stats()["workers_retired"] >= 1
    assert s.stats()["workers_crashed"] == 0


def test_recycle_all_replaces_every_worker_without_a_failed_request(server):
    with Load(server, "/quick") as load:
        for _ in range(3):
            old = pids(server)
            load.wait(N // 4)
            server.ctl("recycle", "--all")
            assert not old & {w["pid"] for w in server.workers() if w["state"] in ("idle", "busy")}
            load.wait(N // 4)
    assert load.bad == [] and load.broken == []


def test_recycle_of_one_pid_leaves_the_others(server):
    before = pids(server)
    victim = min(before)
    server.ctl("recycle", str(victim))
    after = pids(server)
    assert victim not in after and before - {victim} <= after


def test_recycle_of_a_pid_that_is_no_worker_is_refused(server):
    for pid in ("1", str(os.getpid()), str(server.front_pid())):
        done = server.ctl("recycle", pid, check=False)
        assert done.returncode == 1 and done.stderr
        assert process(int(pid)) is not None


def test_recycle_of_a_contract_reaches_those_that_served_it(server):
    assert server.get("/slow?ms=1").status == 200
    until("one says that it served it", lambda: any(w["contract"] == "slow" for w in server.workers()))
    server.ctl("recycle", "--contract", "slow")
    assert not any(w["contract"] == "slow" for w in server.workers())


def test_every_isolation_mode_survives_recycling(start):
    for mode in ("process", "fresh", "reuse"):
        s = start(CONTRACTS, isolation=mode, deadline_ms=60000)
        with Load(s, "/quick", clients=2) as load:
            load.wait(5)
            s.ctl("recycle", "--all")
            load.wait(5)
        assert load.bad == [] and load.broken == [], mode
        assert s.stop() == 0


# -- crashes ------------------------------------------------------------------------------

def test_killed_idle_worker_is_replaced_and_nobody_notices(server):
    victim = next(w["pid"] for w in server.workers() if w["state"] == "idle")
    os.kill(victim, signal.SIGKILL)
    until("it is replaced", lambda: victim not in pids(server) and len(pids(server)) >= 3)
    assert server.get("/quick").status == 200


def test_kill_of_workers_under_load_costs_one_502_each_at_most(server):
    kills = 0
    with Load(server, "/quick") as load:
        for _ in range(5):
            load.wait(N // 5)
            victim = server.workers()[0]["pid"]
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                continue
            kills += 1
            until("it is gone", lambda v=victim: v not in pids(server))
        load.wait(N // 5)
    assert kills > 0
    assert load.broken == []
    assert len(load.bad) <= kills and all(status == 502 for status, _ in load.bad)


def test_kill_in_flight_is_502_with_the_request_id_for_that_one_only(server):
    victim_request = server.begin("GET", "/slow?ms=30000", headers={"X-Request-Id": "the-victim"})
    busy = until("it runs", lambda: [w["pid"] for w in server.workers()
                                     if w["state"] == "busy" and w["contract"] == "slow"])
    other = server.begin("GET", "/slow?ms=200")
    os.kill(busy[0], signal.SIGKILL)
    a = victim_request.finish()
    assert (a.status, a.code) == (502, "worker_died")
    assert a.headers["x-request-id"] == "the-victim"
    assert other.finish().status == 200
    server.wait_log("worker died", f"pid={busy[0]}", "signal=9")


def test_killed_zygote_is_replaced_and_its_workers_go_with_it(start):
    s = start(CONTRACTS)
    assert s.get("/quick").status == 200
    generation = s.status()["generation"]
    old = [p for p in s.family() if p.ppid in s.zygote_pids()] + s.zygotes()
    os.kill(s.zygote_pids()[0], signal.SIGKILL)
    until("its processes are gone", lambda: not any(alive(p) for p in old))
    assert s.get("/quick").status == 200		# waits for the next generation
    assert s.status()["generation"] > generation
    assert {w["generation"] for w in s.workers()} == {s.status()["generation"]}


def test_stopped_worker_does_not_stop_the_others(start):
    """SIGSTOP: it neither answers nor dies, until its deadline."""
    s = start(CONTRACTS, workers_min=2, workers_max=3, deadline_ms=1000)
    pending = s.begin("GET", "/slow?ms=900000")
    busy = until("it runs", lambda: [w["pid"] for w in s.workers() if w["state"] == "busy"])
    os.kill(busy[0], signal.SIGSTOP)
    assert s.get("/quick").status == 200
    assert pending.finish().status == 504
    until("the stopped one is gone", lambda: busy[0] not in s.worker_pids())


def test_killed_front_is_started_again(start):
    s = start(CONTRACTS)
    front = s.front_pid()
    old = s.family()
    os.kill(front, signal.SIGKILL)
    until("another front serves", lambda: s.front_pid() != front)
    s.wait_serving()
    assert s.get("/quick").status == 200
    until("all of the old are gone", lambda: not any(alive(p) for p in old))
    assert s.status()["pid"] == s.proc.pid


def test_nobody_survives_the_master(start):
    s = start(CONTRACTS)
    s.broken = True
    assert s.get("/slow?ms=1").status == 200
    family = s.family()
    assert len(family) >= 4			# front, zygote, two workers
    s.proc.kill()
    s.wait()
    until("all are gone", lambda: not any(alive(p) for p in family))


def test_run_dir_of_a_killed_server_can_be_used_again(start):
    s = start(CONTRACTS)
    s.broken = True
    s.proc.kill()
    s.wait()
    s.start()
    s.wait_serving()
    assert s.get("/quick").status == 200


# -- reload -------------------------------------------------------------------------------

def test_sighup_applies_what_it_may_and_names_what_it_may_not(start):
    s = start(CONTRACTS, config="server_timing = off\nbody_max = \"1m\"\n")
    assert s.get("/quick").headers["server-timing"] is None
    s.config_path.write_text("server_timing = on\nbody_max = \"2m\"\n")
    before = {p.pid for p in s.family()}
    s.send_signal(signal.SIGHUP)
    until("it is applied", lambda: s.get("/quick").headers["server-timing"])
    assert s.wait_log("only after a restart", "body_max")
    assert before <= {p.pid for p in s.family()}		# nobody was restarted for it


def test_wrong_configuration_on_reload_changes_nothing_and_says_where(start):
    s = start(CONTRACTS, config="server_timing = on\n")
    s.config_path.write_text("server_timing = on\n\nno_such_option = 1\n")
    done = s.ctl("reload", check=False)
    assert done.returncode != 0 and "configuration" in done.stderr
    line = s.wait_log("no_such_option")[0]
    assert re.search(r"config:3", line)
    assert s.get("/quick").headers["server-timing"]


def test_ctl_reload_returns_when_the_new_configuration_is_in_force(start):
    s = start(CONTRACTS, config="server_timing = off\n")
    s.config_path.write_text("server_timing = on\n")
    s.ctl("reload")
    assert s.get("/quick").headers["server-timing"]


def test_log_file_is_opened_again_on_sigusr1(start):
    s = start(CONTRACTS, log="{dir}/edge.log")
    log = s.dir / "edge.log"
    old = s.dir / "edge.log.1"
    assert s.get("/quick").status == 200
    until("it is written", lambda: "contract=quick" in log.read_text())
    log.rename(old)
    s.send_signal(signal.SIGUSR1)
    until("the new one is there", log.exists)
    # The front is told after the master has it.
    until("requests are logged there", lambda: s.get("/quick") and "contract=quick" in log.read_text())
    size = old.stat().st_size
    s.get("/quick")
    assert old.stat().st_size == size


# -- the end ------------------------------------------------------------------------------

@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_signal_lets_the_request_in_flight_finish_and_exits_0(start, sig):
    s = start(CONTRACTS, deadline_ms=60000)
    pending = s.begin("GET", "/slow?ms=600")
    until("it runs", lambda: s.stats()["requests_running"] == 1)
    s.family()
    s.send_signal(sig)
    a = pending.finish()
    assert (a.status, a.json()) == (200, {"slept": True})
    assert s.wait() == 0
    assert not (s.run_dir / "tana-edge.pid").exists()


def test_queued_request_is_finished_too(start):
    s = start(CONTRACTS, workers_min=1, workers_max=1, deadline_ms=60000, queue_timeout_ms=60000)
    pending = [s.begin("GET", "/slow?ms=300") for _ in range(2)]
    until("one runs, one waits", lambda: (s.stats()["requests_running"], s.stats()["requests_queued"]) == (1, 1))
    s.family()
    s.send_signal(signal.SIGTERM)
    assert [p.finish().status for p in pending] == [200, 200]
    assert s.wait() == 0


def test_drain_timeout_bounds_the_end(start):
    s = start(CONTRACTS, deadline_ms=600000, drain_timeout_ms=200)
    pending = s.begin("GET", "/slow?ms=600000")
    until("it runs", lambda: s.stats()["requests_running"] == 1)
    assert s.stop() == 0
    s.wait_log("after drain_timeout_ms")
    pending.leave()


def test_idle_keep_alive_connection_does_not_hold_up_the_end(start):
    s = start(CONTRACTS)
    c = s.connection()
    c.request("GET", "/quick")
    assert c.getresponse().read()
    assert s.stop() == 0
    c.close()


def test_no_new_connection_is_taken_while_draining(start):
    s = start(CONTRACTS, deadline_ms=60000)
    pending = s.begin("GET", "/slow?ms=1500")
    until("it runs", lambda: s.stats()["requests_running"] == 1)
    s.ctl("drain")

    def refused():
        try:
            return s.get("/quick", timeout=5).status == 503
        except OSError:
            return True
    until("it refuses", refused)
    assert pending.finish().status == 200
    assert s.wait() == 0


def test_ctl_stop_returns_when_the_server_has_ended(start):
    s = start(CONTRACTS)
    s.family()
    s.ctl("stop")
    assert s.wait(10) == 0
    assert s.ctl("ping", check=False).returncode == 5


def test_background_server_is_ready_when_the_command_returns(start):
    """-d: the command ends with 0 once the server serves."""
    s = Server(CONTRACTS, args=["-d"], wait=False, log="{dir}/edge.log")
    try:
        assert s.wait() == 0
        pid = int((s.run_dir / "tana-edge.pid").read_text())
        assert pid != s.proc.pid
        assert s.get("/quick").status == 200
        s.ctl("stop")
        until("it has ended", lambda: process(pid) is None)
    finally:
        s.close()
