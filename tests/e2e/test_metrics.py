"""What is counted: GET /metrics, why workers ended, tana-ctl stats and top."""

import fcntl
import http.client
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import termios
import threading
import time

import pytest

from conftest import BUILD, PATIENCE, SOURCE, free_port, until
from load import Load

WHO = {"get.js": """
exports.get = function (req) {
	if (req.query.what === 'throw')
		throw new Error('asked to');
	return { query: req.query.what || '' };
};
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
TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
FRESH = 0.15		# seconds after which a text is not one made before


def start_with_metrics(start, contracts, **options):
    port = free_port()
    s = start(contracts, metrics_listen=[f"127.0.0.1:{port}", "unix:{dir}/metrics.sock"], **options)
    s.metrics_port = port
    return s


@pytest.fixture(scope="module")
def served(start_module):
    return start_with_metrics(start_module, {"who": WHO, "other": WHO})


# -- reading it ----------------------------------------------------------------------------

def ask(s, method="GET", path="/metrics", headers=None, body=None):
    c = http.client.HTTPConnection("127.0.0.1", s.metrics_port, timeout=PATIENCE)
    try:
        c.request(method, path, body=body, headers=headers or {})
        r = c.getresponse()
        return r.status, r.headers, r.read()
    finally:
        c.close()


def scrape(s):
    """The samples by name and labels, as {(name, (label, value), ...): number}."""
    time.sleep(FRESH)
    status, headers, body = ask(s)
    assert status == 200 and headers["content-type"] == TYPE
    return parse(body.decode())


def parse(text):
    assert text.endswith("\n# EOF\n") and "\n\n" not in text
    found, family = {}, None
    for line in text.splitlines()[:-1]:
        if line.startswith("# TYPE "):
            family = line.split(" ")[2]
        if line.startswith("#"):
            assert line.split(" ")[2] == family and line.split(" ")[1] in ("TYPE", "UNIT", "HELP")
            continue
        m = re.fullmatch(r'([a-z_0-9]+)(?:\{((?:[a-z]+="(?:[^"\\]|\\.)*",?)+)\})? ([0-9.e+-]+)', line)
        assert m and m.group(1).startswith(family), line
        labels = re.findall(r'([a-z]+)="((?:[^"\\]|\\.)*)"', m.group(2) or "")
        key = (m.group(1), *sorted(labels))
        assert key not in found, line
        found[key] = float(m.group(3))
    return found


def answers(m, contract, status):
    return m["tana_edge_answers_total", ("contract", contract), ("status", status)]


def ended(m, cause):
    return m["tana_edge_workers_ended_total", ("cause", cause)]


def test_counts_agree_with_what_was_asked(served):
    before = scrape(served)
    for _ in range(5):
        assert served.get("/who?what=1").status == 200
    for _ in range(3):
        assert served.get("/who?what=throw").status == 500
    assert served.get("/other").status == 200
    assert served.post("/other").status == 405
    assert served.get("/nobody").status == 404
    assert served.request("GET", "/who", headers={"bad name": "x"}).status == 400
    after = scrape(served)

    def more(*key):
        return after[key] - before.get(key, 0)
    assert {(c, k): n for c in ("who", "other", "") for k in ("2xx", "3xx", "4xx", "5xx")
            if (n := answers(after, c, k) - before.get(("tana_edge_answers_total", ("contract", c), ("status", k)), 0))} == \
        {("who", "2xx"): 5, ("who", "5xx"): 3, ("other", "2xx"): 1, ("other", "4xx"): 1, ("", "4xx"): 2}
    assert more("tana_edge_requests_total") == 12
    assert more("tana_edge_connections_accepted_total") == 12
    for phase in ("queue", "exec", "total"):
        assert more("tana_edge_phase_seconds_count", ("phase", phase)) == 11		# all but the malformed one
        assert more("tana_edge_phase_seconds_bucket", ("le", "+Inf"), ("phase", phase)) == 11
    assert more("tana_edge_phase_seconds_sum", ("phase", "total")) > 0
    assert more("tana_edge_restore_seconds_count") == 9
    assert after["tana_edge_images", ] == 2 and after["tana_edge_images_bytes", ] > 0
    assert after["tana_edge_workers_by_state", ("state", "idle")] == after["tana_edge_workers_idle", ] == 2


def test_the_tables_the_text_and_the_control_socket_agree(served):
    m, stats = scrape(served), served.stats()
    table = (SOURCE / "common/metrics.def").read_text()
    for kind, name in re.findall(r"^TN_(\w+)\((\w+),", table, re.M):
        assert name in stats or name in stats["phases"]
        if kind == "COUNTER":
            assert m[f"tana_edge_{name}_total", ] <= stats[name]
        elif kind == "GAUGE":
            assert (f"tana_edge_{name}",) in m
        elif kind in ("COUNTERS", "GAUGES"):
            suffix = "_total" if kind == "COUNTERS" else ""
            assert {k[1][1] for k in m if k[0] == f"tana_edge_{name}{suffix}"} == set(stats[name])
        elif kind == "TIME":
            assert m[f"tana_edge_{name}_seconds_count", ] <= stats["phases"][name]["count"]
        else:
            assert kind == "STATUS"
    for phase, p in stats["phases"].items():
        assert sum(n for _, n in p["buckets"]) == p["count"]
        assert p["buckets"] == sorted(p["buckets"])


def test_only_get_of_metrics_is_answered(served):
    for path in ("/", "/metrics/", "/Metrics", "/who", "/metrics.txt"):
        assert ask(served, path=path)[0] == 404
    for method in ("POST", "HEAD", "PUT", "DELETE", "OPTIONS"):
        status, headers, body = ask(served, method, body=b"x" if method == "POST" else None)
        assert (status, headers["allow"]) == (405, "GET")
        assert (body == b"") == (method == "HEAD")
    assert ask(served, path="/metrics?name=x")[0] == 200
    assert ask(served, headers={"host": "a b"})[0] == 400
    assert ask(served, headers={"x": "y" * 9000})[0] == 431
    assert ask(served, headers={"x": "y" * 3000000})[0] == 431	# refused long before its end
    assert served.get("/metrics").status == 404			# no contract, here


def test_a_unix_socket_answers_too(served):
    with socket.socket(socket.AF_UNIX) as c:
        c.settimeout(PATIENCE)
        c.connect(str(served.dir / "metrics.sock"))
        c.sendall(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\nGET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
        c.shutdown(socket.SHUT_WR)
        text = b""
        while part := c.recv(65536):
            text += part
    head, body = text.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n") and b"Connection: close" in head
    parse(body.decode())					# one answer, whole


def test_the_busiest_contracts_are_listed_and_the_rest_together(start):
    ids = [f"c{i}" for i in range(6)]
    s = start_with_metrics(start, {c: WHO for c in ids}, metrics_contracts_max=2, workers_min=1)
    for i, c in enumerate(ids):
        for _ in range(i + 1):
            assert s.get("/" + c).status == 200
    m = scrape(s)
    assert {k[1][1]: n for k, n in m.items() if k[0] == "tana_edge_answers_total" and k[2][1] == "2xx"} == \
        {"c5": 6, "c4": 5, "": 1 + 2 + 3 + 4}


def test_nothing_listens_unless_it_is_asked_for(start):
    s = start({"who": WHO})
    assert not s.log_lines("metrics on")
    assert s.get("/metrics").status == 404


def test_an_address_taken_ends_the_start(start):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        s = start({"who": WHO}, metrics_listen=f"127.0.0.1:{other.getsockname()[1]}", wait=False)
        s.broken = True
        assert s.wait() == 1
    assert "in use" in s.log
    done = subprocess.run([BUILD / "tana-edge", "--check-config", "-o", "metrics_listen=localhost:1"],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 3 and "metrics_listen: " in done.stderr


# -- who scrapes disturbs nobody -----------------------------------------------------------

def test_scrapers_that_are_slow_or_many_do_not_disturb_serving(start):
    s = start_with_metrics(start, {"who": WHO}, workers_min=2)

    def connect():
        c = socket.create_connection(("127.0.0.1", s.metrics_port), timeout=PATIENCE)
        return c
    slow = [connect() for _ in range(40)]
    for i, c in enumerate(slow):
        # Half a head; a whole one, and the answer never read; nothing.
        c.sendall([b"GET /met", b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n", b""][i % 3])
    begun = time.monotonic()
    with Load(s, "/who", clients=2) as load:
        load.wait(50)
        # They are in the way of other scrapers only, and not for ever.
        assert ask(s)[0] == 200
    assert load.bad == [] and load.broken == []
    assert time.monotonic() - begun < 45
    assert scrape(s)["tana_edge_connections_refused_total", ] == 0
    for c in slow:
        c.close()
    with Load(s, "/who", clients=2) as load:
        stop = threading.Event()

        def hammer():
            while not stop.is_set():
                ask(s)
        threads = [threading.Thread(target=hammer, daemon=True) for _ in range(4)]
        for t in threads:
            t.start()
        load.wait(100)
        stop.set()
        for t in threads:
            t.join(PATIENCE)
    assert load.bad == [] and load.broken == []


def test_a_connection_that_says_nothing_is_closed_after_a_while(served):
    with socket.create_connection(("127.0.0.1", served.metrics_port), timeout=PATIENCE) as c:
        begun = time.monotonic()
        assert c.recv(1) == b""
        assert 5 < time.monotonic() - begun < 30


def test_scraping_ends_with_the_server(start):
    s = start_with_metrics(start, {"who": WHO, "slow": SLOW}, workers_min=1)
    slow = s.begin("GET", "/slow")
    until("it runs", lambda: s.stats()["requests_running"] == 1)
    s.send_signal(signal.SIGTERM)
    assert slow.finish().status == 200
    assert s.wait() == 0
    with pytest.raises(ConnectionError):
        ask(s)
    assert not (s.dir / "metrics.sock").exists()


# -- why workers end -----------------------------------------------------------------------

def fake_contract():
    return {"c": {"contract.js": "exports.get = function () { return 1; };"}}


def play(s, *steps):
    return s.post("/c", list(steps), headers={"content-type": "text/plain"})


def begin_deaf(s):
    assert play(s, ["block", "SIGALRM", "SIGTERM"], ["start"], ["hang"]).status == 504


def crowd(s):
    asked = [s.begin("GET", "/slow") for _ in range(6)]
    assert {a.finish().status for a in asked} == {200}


def visit_all(s):
    for c in ("who", "slow", "grows"):
        assert s.get("/" + c).status == 200


REAL = {"who": WHO, "slow": SLOW, "grows": GROWS, "alone": {**WHO, "contract.json": json.dumps({"isolation": "process"})}}
CAUSES = {
    # what happens, with what options: on a server with real workers, then on one with the fake ones
    "requests": (lambda s: [s.get("/who") for _ in range(4)], {"max_requests": 2, "max_requests_jitter": 0}),
    "asked": (lambda s: s.ctl("recycle", "--all"), {}),
    "idle": (crowd, {"workers_idle_ms": 100, "workers_max": 4}),
    "mode": (lambda s: s.get("/alone"), {"workers_standby": 1}),
    "memory": (lambda s: s.get("/grows"), {"worker_private_max": "8m"}),
    "age": (lambda s: None, {"worker_lifetime": 1}),
    "tenant": (visit_all, {"workers_max": 1, "worker_tenancy": "contract"}),
    "generation": (lambda s: s.ctl("rotate"), {}),
    # (Of SIGSEGV a sanitizer would speak.)
    "signal": (lambda s: os.kill(s.workers()[0]["pid"], signal.SIGKILL), {}),
    "sandbox": (lambda s: os.kill(s.workers()[0]["pid"], signal.SIGSYS), {}),
}
FAKED = {
    "exit": (lambda s: play(s, ["start"], ["exit", 1]), {}, {}),
    "deadline": (begin_deaf, {"deadline_ms": 200, "deadline_grace_ms": 20}, {}),
    "protocol": (lambda s: play(s, ["start"], ["raw", "00000004c1c1c1c1"], ["hang"]), {}, {}),
    "audit": (lambda s: play(s, ["start"], ["reply", 200, [], "x"], ["restored", 3, 17], ["hang"]), {}, {}),
    "start": (lambda s: None, {"ready_timeout_ms": 200},
              {"workers": {"1": {"begin": [["block", "SIGTERM"], ["hang"]]}}}),
    "stuck": (lambda s: s.ctl("recycle", "--all"), {}, {"workers": {"1": {"retire": "ignore"}}}),
    "zygote": (lambda s: os.kill(s.zygote_pids()[0], signal.SIGKILL), {}, {}),
}


def is_the_only_cause(s, cause, act):
    act(s)
    until(f"a worker has ended for {cause}", lambda: s.stats()["workers_ended"][cause] > 0)
    m = scrape(s)
    assert {k[1][1] for k, n in m.items() if k[0] == "tana_edge_workers_ended_total" and n > 0} == {cause}


@pytest.mark.parametrize("cause", CAUSES)
def test_ends_are_counted_by_cause(start, cause):
    act, options = CAUSES[cause]
    s = start_with_metrics(start, REAL, **{"workers_min": 1, "zygote_lifetime_min": 3600, **options})
    is_the_only_cause(s, cause, act)


@pytest.mark.parametrize("cause", FAKED)
def test_ends_that_no_contract_can_bring_about_are_counted_by_cause(start, cause):
    act, options, behaviour = FAKED[cause]
    s = start_with_metrics(start, fake_contract(), fake=behaviour,
                           **{"workers_min": 1, "zygote_lifetime_min": 3600, **options})
    s.broken = cause == "zygote"		# it says so in its log
    is_the_only_cause(s, cause, act)


def test_every_cause_that_can_be_is_tried_above():
    table = (SOURCE / "common/states.def").read_text()
    causes = set(re.findall(r'^TN_W(?:RETIRE|END)\(\w+,\s*"(\w+)"', table, re.M))
    # Nothing retires a worker for these yet, or it is the end of the server that counts.
    assert causes == set(CAUSES) | set(FAKED)


def test_stats_shows_causes_and_states_to_people(served):
    os.kill(served.workers()[0]["pid"], signal.SIGKILL)
    until("its end is counted", lambda: served.stats()["workers_ended"]["signal"] == 1)
    lines = served.ctl("stats").stdout.splitlines()
    assert lines[lines.index("workers_ended") + 1].split() == ["signal", "1"]
    for heading in ("NOW", "SINCE THE START", "workers_by_state"):
        assert heading in lines
    assert lines.index("NOW") < next(i for i, x in enumerate(lines) if x.startswith("images_bytes")) < \
        lines.index("SINCE THE START") < next(i for i, x in enumerate(lines) if x.startswith("requests_2xx"))


# -- top -------------------------------------------------------------------------------------

def top(s, *args, **kw):
    return subprocess.Popen([BUILD / "tana-ctl", "-s", s.run_dir / "control.sock", "top", *args], **kw)


def test_top_once_shows_what_was_in_between(served):
    for _ in range(200):				# before it looks: not counted
        served.get("/other")
    p = top(served, "--once", "--interval", "2", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    with Load(served, "/who", clients=1) as load:
        out = p.communicate(timeout=PATIENCE)[0]
    assert p.returncode == 0 and load.answers > 0
    assert "\x1b" not in out
    assert re.match(r"tana-edge \S+  serving  snapshot  generation \d+  up ", out)
    rates = dict(re.findall(r"(requests/s|2xx|5xx) +([0-9.]+)", out.splitlines()[2]))
    assert float(rates["requests/s"]) > 0 and float(rates["5xx"]) == 0
    assert re.search(r"^time ms +p50 [0-9.]+   p99 [0-9.]+ ", out, re.M)
    rows = [line.split() for line in out.splitlines()]
    contracts = rows[rows.index(["CONTRACT", "REQUESTS/s", "ERRORS/s", "REQUESTS", "IMAGE"]) + 1:]
    assert contracts[0][0] == "who" and float(contracts[0][1]) > 0
    assert contracts[1][0] == "other" and float(contracts[1][1]) == 0 and int(contracts[1][3]) >= 200
    workers = rows[rows.index(["PID", "STATE", "CONTRACT", "PRIVATE", "SHARED"]) + 1:]
    assert {int(w[0]) for w in workers} == {w["pid"] for w in served.workers()}


def test_top_without_a_terminal_prints_once(served):
    p = top(served, "--interval=0.1", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert p.communicate(timeout=PATIENCE)[0].startswith("tana-edge ") and p.returncode == 0


class Terminal:
    """tana-ctl top in a terminal, and what is on its screen."""

    def __init__(self, s, *args, rows=24, columns=80):
        self.master, self.slave = pty.openpty()
        self.resize(rows, columns, None)
        self.before = termios.tcgetattr(self.slave)
        self.raw = ""
        self.proc = top(s, *args, stdin=self.slave, stdout=self.slave, stderr=self.slave, start_new_session=True)

    def resize(self, rows, columns, sig=signal.SIGWINCH):
        self.rows, self.columns = rows, columns
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if sig is not None:			# it is no controlling terminal: the kernel tells nobody
            self.proc.send_signal(sig)

    def read(self, seconds=0.1):
        while select.select([self.master], [], [], seconds)[0]:
            try:
                part = os.read(self.master, 65536)
            except OSError:
                break
            self.raw += part.decode()

    def frames(self):
        """What was drawn, a list of lines each; only what the program may send is understood."""
        self.read()
        frames = self.raw.split("\x1b[H")[1:]
        return [[line.replace("\x1b[K", "").replace("\x1b[J", "") for line in re.split(r"\r+\n", f)] for f in frames]

    def wait_frames(self, count=1):
        return until("it draws", lambda: len(f := self.frames()) >= count and f)

    def end(self):
        """Its exit status, once it has ended and has left the terminal as it was."""
        code = self.proc.wait(PATIENCE)
        self.read()
        assert termios.tcgetattr(self.slave) == self.before
        assert self.raw.count("\x1b[?1049h") == self.raw.count("\x1b[?1049l") > 0
        assert self.raw.rindex("\x1b[?25h") > self.raw.rindex("\x1b[?25l")
        return code

    def close(self):
        if self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait()
        os.close(self.slave)
        os.close(self.master)


@pytest.fixture
def terminal(served):
    opened = []

    def start(*args, **kw):
        opened.append(Terminal(kw.pop("server", served), *args, **kw))
        return opened[-1]
    yield start
    for t in opened:
        t.close()


def test_top_draws_until_q(served, terminal):
    t = terminal("--interval", "0.3")
    with Load(served, "/who", clients=1):
        frames = t.wait_frames(4)
    ours = termios.tcgetattr(t.slave)
    assert not ours[3] & termios.ECHO and not ours[3] & termios.ICANON
    for frame in frames[:-1]:
        assert len(frame) <= 24 and max(map(len, frame)) <= 80
        assert frame[0].startswith("tana-edge ")
        assert any(line.startswith("CONTRACT") for line in frame) and any("PID" in line for line in frame)
    assert re.search(r"^requests/s +- ", frames[0][2])
    assert float(re.search(r"^requests/s +([0-9.]+)", frames[-2][2]).group(1)) > 0
    os.write(t.master, b"xq")
    assert t.end() == 0


def test_top_fits_into_whatever_the_screen_becomes(terminal):
    t = terminal("--interval", "60")
    t.wait_frames()
    for rows, columns in ((10, 30), (3, 10), (1, 1), (60, 300)):
        seen = len(t.frames())
        t.resize(rows, columns)
        frame = until("it draws", lambda: t.frames()[seen:])[-1]	# at once, not after the interval
        assert len(frame) <= rows and max(map(len, frame)) <= columns
    assert any("PID" in line for line in frame)
    os.write(t.master, b"q")
    assert t.end() == 0


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_top_restores_the_terminal_when_it_is_ended(terminal, sig):
    t = terminal("--interval", "60")
    t.wait_frames()
    t.proc.send_signal(sig)
    assert t.end() == -sig


def test_top_restores_the_terminal_when_the_server_ends(start, terminal):
    s = start({"who": WHO}, workers_min=1)
    t = terminal("--interval", "0.2", server=s)
    t.wait_frames(2)
    s.stop()
    assert t.end() == 5
    assert re.search(r"\x1b\[\?1049l.*tana-ctl: top: ", t.raw, re.S)


def test_top_gives_the_terminal_back_while_it_is_stopped(served):
    """With a shell's job control around it: else the signal would stop nobody."""
    pid, master = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execv("/bin/sh", ["sh", "-mc",
                 f"{BUILD}/tana-ctl -s {served.run_dir}/control.sock top --interval 60; echo stopped; stty -a; fg; echo over"])
    text = ""

    def saw(what):
        nonlocal text
        while select.select([master], [], [], 0)[0]:
            try:
                text += os.read(master, 65536).decode()
            except OSError:
                break
        return what in text
    try:
        until("it draws", lambda: saw("CONTRACT"))
        os.write(master, b"\x1a")
        until("it is stopped", lambda: saw("stopped"))
        until("it goes on", lambda: text.count("\x1b[?1049h") == 2 or saw("\0"))
        between = text[text.index("\x1b[?1049l"):text.rindex("\x1b[?1049h")]
        assert re.search(r"[^-]icanon", between) and re.search(r"[^-]echo\b", between)
        os.write(master, b"q")
        until("it has ended", lambda: saw("over"))
    finally:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.close(master)
        os.waitpid(pid, 0)


def test_top_lets_no_text_command_the_terminal(served, tmp_path):
    """A server that is none: its names are escaped, its nonsense is an error."""
    import msgpack
    evil = "x\x1b[31m\n\x07"
    buckets = {"buckets": [[1, 2]]}
    stats = {k: v for k, v in served.stats().items()}
    stats["phases"] = {"total": buckets, "queue": buckets}
    good = {"status": {"version": evil, "state": evil, "isolation": evil, "generation": 1},
            "contracts": [{"contract": evil, "requests": 1, "requests_5xx": 0, "image_bytes": 1}],
            "workers": [{"pid": 1, "state": evil, "contract": evil, "requests": 1, "private_bytes": 1, "shared_bytes": 1}],
            "stats": {**stats, "workers_ended": {evil: 3}}}

    def run(answers):
        path = tmp_path / "control.sock"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            p = subprocess.Popen([BUILD / "tana-ctl", "-s", path, "top", "--once", "--interval=0.1"],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            client, _ = listener.accept()
            with client:
                unpacker = msgpack.Unpacker(raw=False)
                while data := client.recv(65536):
                    unpacker.feed(data)
                    for _, number, method, _ in unpacker:
                        client.sendall(msgpack.packb([1, number, None, answers[method]]))
            out, err = p.communicate(timeout=PATIENCE)
            return p.returncode, out, err
    code, out, err = run(good)
    assert code == 0 and "\x1b" not in out and "\x07" not in out and "x?[31m??" in out and err == ""
    for method, nonsense in (("status", 3), ("contracts", {}), ("contracts", [1]), ("workers", None),
                             ("stats", {}), ("stats", {**stats, "phases": {"total": {"buckets": [[1]]}}}),
                             ("stats", {**stats, "phases": {"total": {"buckets": [[1, 1]] * 300}}})):
        code, out, err = run({**good, method: nonsense})
        assert code == 1 and out == "" and "makes no sense" in err
