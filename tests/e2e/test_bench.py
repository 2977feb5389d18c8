"""The benchmark: what its client counts, against servers that stall, refuse, hang up and
say nothing; what it refuses to quote; its command line."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from conftest import BUILD, PATIENCE, ROOT, SOURCE, free_port

sys.path.insert(0, str(SOURCE / "bench"))
import tana_bench  # noqa: E402
import tana_goals  # noqa: E402
import tana_noise  # noqa: E402
import tana_report  # noqa: E402
from tana_results import Key, Results  # noqa: E402
from tana_scenarios import recovery  # noqa: E402

PACED = BUILD / "bench/paced"


class Fake:
    """Answers each request as `answer(number, request)` says: bytes; None: not at all; b"": hangs up."""

    def __init__(self, answer):
        self.answer, self.requests, self.lock, self.sockets = answer, [], threading.Lock(), []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            self.sockets.append(s)
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        data = b""
        try:
            while True:
                head, end, rest = data.partition(b"\r\n\r\n")
                length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
                if end and len(rest) >= length:
                    with self.lock:
                        number = len(self.requests)
                        self.requests.append(head + end + rest[:length])
                    answer = self.answer(number, self.requests[number])
                    if answer == b"":
                        s.shutdown(socket.SHUT_RDWR)
                        return
                    if answer is not None:
                        s.sendall(answer)
                    data = rest[length:]
                    continue
                more = s.recv(65536)
                if not more:
                    return
                data += more
        except OSError:
            return

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        for s in self.sockets:
            s.close()


def response(status, body=b"{}"):
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


def paced(*args):
    done = subprocess.run([PACED, *map(str, args)], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return {t["name"]: t for t in json.loads(done.stdout)["targets"]}


def target(name, port, rate, connections, path="/x"):
    return ["--target", name, f"http://127.0.0.1:{port}{path}", rate, connections]


def accounted(t):
    """Every request that was due is somewhere."""
    assert t["scheduled"] == t["sent"] + t["given_up"] + t["unsent"]
    assert t["sent"] == sum(t["statuses"].values()) + sum(t["failed"].values())


# -- paced ---------------------------------------------------------------------

def test_a_stall_counts_for_all_that_it_kept_waiting():
    def answer(number, _):
        if number == 100:
            time.sleep(1)
        return response(200)
    with Fake(answer) as s:
        t = paced("--seconds", 2, *target("t", s.port, 200, 1))["t"]
    accounted(t)
    assert t["scheduled"] == 400
    due, sent = t["latency_ms"]["from_due"], t["latency_ms"]["from_sent"]
    # A second's worth of them, half of all, waited for up to a second; a client that waits for
    # each answer before it asks again has seen one slow request.
    assert due["max"] >= 990 and due["p75"] >= 300
    assert sent["max"] >= 990 and sent["p99"] < due["p75"]


def test_statuses_are_counted_apart():
    by = [200, 503, 404, 200, 500, 302, 200, 503]
    with Fake(lambda number, _: response(by[number % len(by)])) as s:
        t = paced("--seconds", 1, *target("t", s.port, 160, 4))["t"]
    accounted(t)
    assert t["scheduled"] == 160
    n = t["sent"]
    got = [by[i % len(by)] for i in range(n)]
    assert t["statuses"] == {str(status): got.count(status) for status in set(got)}
    assert t["ok"] == got.count(200) + got.count(302) and t["refused"] == got.count(503)
    assert t["latency_ms"]["refused_from_due"]["count"] == t["refused"]
    assert t["latency_ms"]["from_sent"]["count"] == t["ok"]


def test_the_rate_is_kept_by_each_target():
    with Fake(lambda *_: response(200)) as a, Fake(lambda *_: response(200)) as b:
        got = paced("--seconds", 2, "--warm", 0.5, *target("a", a.port, 150, 4, "/a?n=1"), *target("b", b.port, 50, 1))
        assert got["a"]["scheduled"] == 300 and got["b"]["scheduled"] == 100
        for t in got.values():
            accounted(t)
            assert t["ok"] >= 0.9 * t["scheduled"]
        # The warm-up's are not counted, but asked.
        assert len(a.requests) == 375 - got["a"]["unsent"] and len(b.requests) == 125 - got["b"]["unsent"]
        assert a.requests[0].startswith(b"GET /a?n=1 HTTP/1.1\r\n")


def test_steps_and_timeline():
    with Fake(lambda *_: response(200)) as s:
        t = paced("--steps", "1:1,0:0.5,2:1", "--timeline", 500, *target("t", s.port, 100, 4))["t"]
    accounted(t)
    assert t["scheduled"] == 300
    windows = [w["ok"] for w in t["timeline"]]
    assert len(windows) == 5
    # What is due in an interval may be answered in the next one.
    assert windows[2] <= 10 and windows[0] >= 30 and windows[3] > windows[0]


def test_a_post_is_sent_whole(tmp_path):
    body = bytes(range(256)) * 256
    (tmp_path / "body").write_bytes(body)
    with Fake(lambda *_: response(200, body)) as s:
        t = paced("--seconds", 0.5, *target("t", s.port, 20, 2), "--body", tmp_path / "body", "--type", "x/y")["t"]
        assert t["ok"] == t["sent"] > 0
        assert all(r.startswith(b"POST /x HTTP/1.1\r\n") and b"Content-Type: x/y\r\n" in r and r.endswith(body) for r in s.requests)


def test_what_fails_is_said_by_how():
    def answer(number, _):
        return [b"", None, b"nonsense\r\n\r\n", response(200) + b"more"][number % 4]
    with Fake(answer) as s:
        t = paced("--seconds", 1, "--timeout", 0.3, *target("t", s.port, 40, 8))["t"]
    accounted(t)
    assert t["ok"] == 0 and t["reconnects"] > 0
    assert all(t["failed"][k] >= 5 for k in ("closed", "timeout", "malformed"))


def test_those_who_give_up_are_counted():
    with Fake(lambda number, _: (time.sleep(0.5 if number == 5 else 0), response(200))[1]) as s:
        t = paced("--seconds", 1, "--give-up", 50, *target("t", s.port, 100, 1))["t"]
    accounted(t)
    assert t["given_up"] >= 20 and t["ok"] == t["sent"]


def test_what_never_got_through_counts_as_long_as_it_waited():
    with Fake(lambda *_: None) as s:
        t = paced("--seconds", 1, "--timeout", 3, *target("t", s.port, 100, 1))["t"]
    accounted(t)
    assert t["failed"]["timeout"] == 1 and t["unsent"] == 99
    assert t["latency_ms"]["from_due"]["count"] == 99 and t["latency_ms"]["from_due"]["max"] >= 900


@pytest.mark.parametrize(("args", "says"), [
    ([], "no --target"),
    (["--target", "t", "http://192.0.2.1:80/", 1, 1], "'192.0.2.1' is not a loopback address"),
    (["--target", "t", "http://localhost:80/", 1, 1], "'localhost' is not an IPv4 address or [::1]"),
    (["--target", "t", "ftp://127.0.0.1:80/", 1, 1], "does not begin with http://"),
    (["--target", "t", "http://127.0.0.1/", 1, 1], "has no ADDRESS:PORT"),
    (["--target", "t", "http://127.0.0.1:80/", "many", 1], "RATE: 'many' is not a number"),
    (["--target", "t", "http://127.0.0.1:80/", 1, 0], "CONNECTIONS: '0' is not a number from 1"),
    (["--target", 't"', "http://127.0.0.1:80/", 1, 1], "is no name"),
    (["--target", "t"], "NAME URL RATE CONNECTIONS must follow"),
    (["--body", "x"], "--body: no --target before it"),
    (["--steps", "1"], "'1' is not FACTOR:SECONDS"),
    (["--fast", "1"], "'--fast' is not understood"),
])
def test_wrong_words_are_named(args, says):
    done = subprocess.run([PACED, *map(str, args)], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 2 and says in done.stderr and done.stdout == ""


def test_nobody_there():
    done = subprocess.run([PACED, *map(str, target("t", free_port(), 1, 1))], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1 and "target t: cannot connect to 127.0.0.1:" in done.stderr


# -- what is quoted ---------------------------------------------------------------

QUIET = {"calibration_ms": 1.0, "foreign": 0.0, "steal": 0.0, "busiest": ""}


def disturbed(**how):
    return {**QUIET, **how}


def test_what_disturbs_a_round():
    assert tana_noise.disturbances(QUIET, 1.0) == []
    (why,) = tana_noise.disturbances(disturbed(foreign=0.3, busiest="cc[7]"), 1.0)
    assert "other processes used 30%" in why and "cc[7]" in why
    (why,) = tana_noise.disturbances(disturbed(steal=0.1), 1.0)
    assert "hypervisor" in why
    (why,) = tana_noise.disturbances(disturbed(calibration_ms=1.5), 1.0)
    assert "50% longer" in why


def test_the_watch_sees_who_else_works():
    # Started by us, but no server that is watched, nor a client that was waited for.
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        with tana_noise.Watch() as w:
            time.sleep(1)
        busy.kill()
    assert w.noise["foreign"] * tana_noise.CORES > 0.1
    assert w.noise["busiest"]


def test_rounds_that_agree_are_quoted():
    f = tana_noise.judge([(100.0, []), (104.0, []), (98.0, [])], 0.1)
    assert (f.value, f.low, f.high, f.rounds, f.noisy) == (100, 98, 104, 3, [])


def test_rounds_that_differ_are_not():
    f = tana_noise.judge([(100.0, []), (200.0, []), (50.0, [])], 0.1)
    assert f.value == 100 and "rounds differ by 75%" in f.noisy[0]


def test_a_disturbed_round_is_left_out_and_too_many_spoil_the_figure():
    f = tana_noise.judge([(100.0, []), (101.0, []), (10.0, ["cc"])], 0.1)
    assert f.value == 100.5 and f.rounds == 2 and not f.noisy
    f = tana_noise.judge([(100.0, []), (10.0, ["cc"]), (10.0, ["cc"])], 0.1)
    assert f.noisy[0] == "2 of 3 rounds were disturbed: cc"
    # One round is enough only if there was one.
    assert tana_noise.judge([(1.0, []), (1.0, ["cc"])], 0.1).noisy
    assert not tana_noise.judge([(1.0, [])], 0.1).noisy


def results(noise, ours=40000.0):
    r = Results()
    for _ in range(3):
        r.calibrations.append(1.0)
        r.add(Key("hello", 32, "tana-edge"), {"rate": ours, "p99": 1.0}, noise)
        r.add(Key("hello", 32, "nginx + njs"), {"rate": 40100.0, "p99": 2.0}, QUIET)
    return r


def goal(rows, text):
    (row,) = [g for g in rows if text in g["goal"]]
    return row


RUN = {"date": "today", "quick": True, "minutes": 1.0, "machine": {"processor": "x", "cores": 2, "kernel": "y"}, "versions": {},
       "without": {}, "scenarios": ["hello"], "also": {}}


def test_goals_are_met_or_not():
    rows = tana_goals.rows(results(QUIET), ["hello"], {"workerd": "not installed from npm; no npm"})
    assert goal(rows, "32 connections: at least 0.9 of nginx + njs")["verdict"] == "met"
    assert goal(rows, "32 connections: p99 below")["verdict"] == "met"
    row = goal(rows, "32 connections: at least 5 times workerd")
    assert row["verdict"] == "not measured" and "no npm" in row["why"]
    assert goal(rows, "2,000 idle")["why"] == "memory was not asked for"
    rows = tana_goals.rows(results(QUIET, ours=30000.0), ["hello"], {})
    row = goal(rows, "32 connections: at least 0.9 of nginx + njs")
    assert row["verdict"] == "NOT MET" and row["ratio"] == "0.75"


def test_no_goal_is_called_on_a_noisy_figure():
    r = results(disturbed(foreign=0.5, busiest="cc[7]"))
    rows = tana_goals.rows(r, ["hello"], {})
    row = goal(rows, "32 connections: at least 0.9 of nginx + njs")
    assert row["verdict"] == "noisy" and "3 of 3 rounds were disturbed" in row["why"]
    text = tana_report.text(RUN, r, rows)
    assert "noisy" in text and "40,000" not in text and "40,100" in text
    figures = {(f["subject"], f["metric"]): f for f in tana_report.document(RUN, r, rows)["figures"]}
    assert figures["tana-edge", "rate"]["quotable"] is False and figures["tana-edge", "rate"]["median"] == 40000
    assert figures["nginx + njs", "rate"]["quotable"] is True


def test_a_share_of_an_unknown_capacity_is_not_quoted():
    r = results(QUIET)
    capacity, share = Key("overload", "capacity", "tana-edge"), Key("overload", 2.0, "tana-edge")
    r.rests["overload", "tana-edge"].append(capacity)
    r.add(capacity, {"goodput": 100.0}, QUIET)
    r.add(share, {"goodput": 90.0, "of_peak": 0.9}, QUIET)
    assert not r.figure(share, "of_peak").noisy
    r.samples[capacity][0]["noise"] = disturbed(steal=0.2)
    assert "capacity, of which its load is a share: 1 of 1 rounds were disturbed" in r.figure(share, "of_peak").noisy[0]
    assert goal(tana_goals.rows(r, ["overload"], {}), "at 200 % load: goodput")["verdict"] == "noisy"


def test_what_was_skipped_is_named():
    r = results(QUIET)
    r.skipped[Key("memory", "front, 2000 idle", "tana-edge")] = "only 1024 descriptors"
    rows = tana_goals.rows(r, ["hello", "memory"], {})
    assert goal(rows, "2,000 idle")["why"] == "only 1024 descriptors"
    assert "memory, front, 2000 idle, tana-edge: only 1024 descriptors" in tana_report.text(RUN, r, rows)


def test_recovery_is_the_last_bad_interval():
    good, bad, slow = ({"refused": 0, "failed": 0, "mean_ms": 1.0}, {"refused": 9, "failed": 0, "mean_ms": 1.0},
                       {"refused": 0, "failed": 0, "mean_ms": 50.0})
    assert recovery([bad, bad, good, good], 200, 100) == 0
    assert recovery([bad, bad, bad, slow, good], 200, 100) == 200
    assert recovery([bad, bad, good, bad], 200, 100) == 200


# -- the command line ----------------------------------------------------------------

def run(*args):
    return subprocess.run([sys.executable, SOURCE / "bench/run", *map(str, args)], capture_output=True, text=True, timeout=PATIENCE)


def test_run_says_what_it_can_do():
    done = run("--help")
    assert done.returncode == 0 and "--quick" in done.stdout and "--no-install" in done.stdout
    done = run("--list")
    assert done.returncode == 0
    for word in ("hello", "overload", "workerd", "nginx + njs", *(g.text for g in tana_goals.GOALS)):
        assert word in done.stdout


def test_run_names_what_is_wrong(tmp_path):
    done = run("--only", "hello,nothing")
    assert done.returncode == 2 and "'nothing' is none of start, hello" in done.stderr
    done = run("--peers", "apache")
    assert done.returncode == 2 and "'apache' is none of tana, njs" in done.stderr
    done = run(tmp_path)
    assert done.returncode == 1 and "tana-edge is not built (./bootstrap build)" in done.stderr


def start(tmp_path, *args):
    return subprocess.Popen([sys.executable, SOURCE / "bench/run", "--quick", "--no-install", "--peers", "tana", "--out",
                             tmp_path / "out", *args, BUILD], env={**os.environ, "TMPDIR": str(tmp_path)}, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def nothing_left(tmp_path):
    """No file of its own, and no process that names one."""
    assert not list(tmp_path.glob("tana-bench-*"))
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as f:
                assert f"{tmp_path}/tana-bench-".encode() not in f.read()
        except OSError:
            continue


def test_a_scenario_is_measured_and_reported(tmp_path):
    tmp_path.chmod(0o755)
    tmp_path.parent.chmod(0o755)
    with start(tmp_path, "--only", "memory") as p:
        out, err = p.communicate(timeout=2 * PATIENCE)
    assert p.returncode == 0, err
    nothing_left(tmp_path)
    assert out.rstrip() == (tmp_path / "out/report.txt").read_text().rstrip() and "Memory: all processes" in out
    report = json.loads((tmp_path / "out/report.json").read_text())
    figures = {f["point"]: f["median"] for f in report["figures"]}
    assert 0 < figures["front, none"] < figures["front, 2000 idle"]
    if ROOT:
        assert 0 < figures["4 workers"] < figures["100 workers"]
    assert len(report["goals"]) == len(tana_goals.GOALS)
    assert goal(report["goals"], "2,000 idle")["value"] == figures["front, 2000 idle"]


def test_an_interrupt_waits_until_a_process_is_on_record():
    done = []
    with pytest.raises(KeyboardInterrupt):
        with tana_bench.deferred():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
            done.append(True)
    assert done and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_interrupted_it_leaves_nothing(tmp_path):
    tmp_path.chmod(0o755)
    tmp_path.parent.chmod(0o755)
    with start(tmp_path, "--only", "memory") as p:
        for line in p.stderr:
            if "100 workers" in line:
                break
        p.send_signal(signal.SIGINT)
        _, err = p.communicate(timeout=PATIENCE)
    assert p.returncode == 130 and "interrupted" in err
    assert not (tmp_path / "out").exists()
    nothing_left(tmp_path)
