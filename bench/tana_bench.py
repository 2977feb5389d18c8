"""What the measurements share: servers that are ended by pid, in a directory of
their own; wrk; what /proc says of processor time and memory."""

import collections
import contextlib
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent
ROOT = os.getuid() == 0
HELLO = "exports.Get = function (req) { return { message: 'Hello, world!' }; };\n"


def die(text):
    sys.exit(f"{Path(sys.argv[0]).name}: {text}")


def find(*names):
    """The first of these programs that there is; None."""
    for name in names:
        path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if path:
            return path
    return None


def free_port():
    """Below those that the kernel gives to clients, or one of them may have it meanwhile."""
    while True:
        port = random.randrange(10240, 32768)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))]


# -- processes ----------------------------------------------------------------

# own: seconds of processor time; cpu: with that of children that were waited for.
Process = collections.namedtuple("Process", "ppid start name kernel zombie own cpu")
TICK = os.sysconf("SC_CLK_TCK")


def processes():
    """{pid: Process} of all there are, zombies too, whose time is in no parent's yet: so what
    a family has used between two looks is the difference of its sums of cpu, whoever ended
    meanwhile."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                stat = Path(f"/proc/{name}/stat").read_text()
            except OSError:
                continue
            before, _, rest = stat.rpartition(")")
            f = rest.split()
            found[int(name)] = Process(int(f[1]), int(f[19]), before.partition("(")[2], bool(int(f[6]) & 0x200000), f[0] in "ZX",
                                       sum(map(int, f[11:13])) / TICK, sum(map(int, f[11:15])) / TICK)
    return found


def descendants(table, pids):
    """These and all below them, in a table of processes()."""
    children = {}
    for pid, p in table.items():
        children.setdefault(p.ppid, []).append(pid)
    found = [pid for pid in pids if pid in table]
    for pid in found:
        found += children.get(pid, [])
    return found


class Connection:
    """Kept; for what must be sent at once."""

    def __init__(self, server):
        self.http = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)

    def get(self, path):
        """(status, ms)"""
        start = time.perf_counter()
        self.http.request("GET", path)
        r = self.http.getresponse()
        r.read()
        return r.status, (time.perf_counter() - start) * 1e3


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def deferred():
    """A signal whose handler raises waits until the end: what was begun here is on record then."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came = []
    handlers = {n: signal.signal(n, lambda n, _: came.append(n)) for n in SIGNALS}
    try:
        yield
    finally:
        for n, handler in handlers.items():
            signal.signal(n, handler)
        for n in came:
            signal.raise_signal(n)


# -- servers -----------------------------------------------------------------

class Processes:
    """Something that answers on a port; its processes are ended in reverse order."""

    patience = 60		# seconds, after SIGTERM

    def __init__(self, name, where):
        self.name = name
        self.dir = Path(where) / re.sub(r"\W+", "-", name)
        self.dir.mkdir()
        self.dir.chmod(0o755)		# other users' processes must come through
        self.port = free_port()
        self.processes = []

    def spawn(self, *argv, **env):
        with open(self.dir / "output", "ab") as out, deferred():
            self.processes.append(subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=out,
                                                   stderr=out, cwd=self.dir, env={**os.environ, **env}))

    @property
    def output(self):
        return (self.dir / "output").read_text(errors="replace")

    def start(self):
        raise NotImplementedError

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def family(self):
        """{pid: argv} of all its processes that live."""
        table = {pid: p for pid, p in processes().items() if not p.zombie}
        found, argv = descendants(table, [p.pid for p in self.processes]), {}
        for pid in found:
            try:
                argv[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
        return argv

    def get(self, path="/hello", timeout=60):
        """(status, body) over a connection of its own."""
        return self.ask("GET", path, None, timeout)

    def post(self, path, text, timeout=60):
        return self.ask("POST", path, text, timeout)

    def ask(self, method, path, text, timeout):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            c.request(method, path, text, {"Content-Type": "text/plain"} if text is not None else {})
            r = c.getresponse()
            return r.status, r.read()
        finally:
            c.close()

    def wait(self, path="/hello", turn=0.05):
        """Until it answers 200."""
        end = time.monotonic() + 60
        while True:
            if any(p.poll() is not None for p in self.processes):
                die(f"{self.name} has ended:\n{self.output[-3000:]}")
            try:
                status, body = self.get(path)
                if status == 200:
                    return body
                why = f"answers {status} {body[:300]!r}"
            except (OSError, http.client.HTTPException) as e:
                why = str(e)
            if time.monotonic() > end:
                die(f"{self.name}: {why}\n{self.output[-3000:]}")
            time.sleep(turn)

    def stop(self):
        """The exit statuses, of the last process first.  What they leave behind is killed."""
        codes, before = [], processes()
        family = descendants(before, [p.pid for p in self.processes])
        for p in reversed(self.processes):
            if p.poll() is None:
                p.send_signal(signal.SIGTERM)
            try:
                p.wait(self.patience)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
            codes.append(p.returncode)
        after = processes()
        for pid in family:
            if pid in after and after[pid].start == before[pid].start:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        self.processes = []
        return codes


class Tana(Processes):
    """tana-edge with its defaults, but for `options` and a quiet log.  contracts:
    {id: text of get.js}; without it the caller fills self.contracts."""

    def __init__(self, name, where, build, contracts=None, **options):
        super().__init__(name, where)
        self.build = Path(build)
        self.contracts = self.dir / "contracts"
        self.contracts.mkdir()
        for id, text in (contracts or {}).items():
            self.deploy(id, text)
        self.options = {"listen": f"127.0.0.1:{self.port}", "contracts": self.contracts, "run_dir": self.dir / "run",
                        "state_dir": self.dir / "state", "log_level": "warn", "log_requests": "off", **options}

    def deploy(self, id, text):
        (self.contracts / id).mkdir()
        (self.contracts / id / "get.js").write_text(text)

    def start(self):
        self.spawn(self.build / "tana-edge", *(a for k, v in self.options.items() for a in ("-o", f"{k}={v}")))

    def ctl(self, *args):
        return subprocess.run([self.build / "tana-ctl", "-s", self.dir / "run/control.sock", *args], check=True,
                              capture_output=True, text=True, timeout=60).stdout

    def stats(self):
        return json.loads(self.ctl("stats", "--json"))

    def workers(self):
        return json.loads(self.ctl("workers", "--json"))

    def front(self):
        return next(pid for pid, argv in self.family().items() if "--front" in argv)


# -- what happens to tana-edge -----------------------------------------------

# A hello that can be made to wait, so that as many workers are busy as there are clients.
HELLO_WAITS = """exports.Get = function (req) {
	var answer = { message: 'Hello, world!' };

	return req.query.wait ? new Promise(function (resolve) {
		setTimeout(function () { resolve(answer); }, Number(req.query.wait));
	}) : answer;
};
"""


def all_serve(server, n):
    """Until each of n workers has served HELLO_WAITS, which is contract hello."""
    server.wait()
    end = time.monotonic() + 60
    while time.monotonic() < end:
        # All at a time: each worker has one.
        with ThreadPoolExecutor(n) as pool:
            list(pool.map(lambda _: server.get("/hello?wait=300"), range(n)))
        if sum(w["requests"] > 0 for w in server.workers()) >= n:	# beside those, there is a reserve
            return
    die(f"of {n} workers only {sum(w['requests'] > 0 for w in server.workers())} have served")


def hellos(n):
    """So many contracts, each with an answer of its own; RANDOM_WRK asks for them."""
    return {f"c{i:05}": HELLO.replace("world", f"world {i}") for i in range(n)}


RANDOM_WRK = """
local n = %d
function init(args) math.randomseed(os.time()) end
function request() return wrk.format("GET", string.format("/c%%05d", math.random(0, n - 1))) end
"""


def ask_each(server, n):
    """Each of hellos(n) once, by 4 clients: their images are there then."""
    def ask(part):
        c = Connection(server)
        for i in range(part, n, 4):
            status, _ = c.get(f"/c{i:05}")
            if status != 200:
                die(f"c{i:05} answers {status}")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(4)))


def first_answers(server, n):
    """ms each, of hellos(n), none of which was asked for before."""
    c, times = Connection(server), []
    for i in range(n):
        status, ms = c.get(f"/c{i:05}")
        if status != 200:
            die(f"c{i:05} answers {status}")
        times.append(ms)
    return times


def kills(server, rounds):
    """ms from the SIGKILL of the only worker to the next one's answer; fewer than
    rounds: it takes root to kill it."""
    server.wait()
    c, times = Connection(server), []
    for _ in range(rounds):
        c.get("/hello")
        time.sleep(0.1)		# a standby is ready again
        (pid,) = [w["pid"] for w in server.workers() if w["requests"] > 0]
        start = time.perf_counter()
        try:
            os.kill(pid, signal.SIGKILL)
        except PermissionError:
            break
        status, _ = c.get("/hello")
        times.append((time.perf_counter() - start) * 1e3)
        if status != 200:
            die(f"after SIGKILL: {status}")
    return times


# -- memory, KB ----------------------------------------------------------------

def rollup(pid):
    """/proc/PID/smaps_rollup as a dict; PermissionError: needs root."""
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return {k: int(v.split()[0]) for k, _, v in (line.partition(":") for line in f) if v.endswith("kB\n")}


def rss(pid):
    return int(re.search(r"^VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.M).group(1))


# -- wrk -----------------------------------------------------------------------

UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


def wrk(port, connections, seconds, path="/hello", script=None, timeout=10):
    """{rate, p50, p99 (ms), requests, errors, failed: those without any answer, stderr}"""
    program = find("wrk") or die("no wrk (Debian: wrk)")
    done = subprocess.run([program, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", f"{timeout}s", "--latency",
                           *(["-s", str(script)] if script else []), f"http://127.0.0.1:{port}{path}"],
                          capture_output=True, text=True, check=True)
    out = done.stdout

    def ms(percent):
        n, unit = re.search(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s|m)\s*$", out, re.M).groups()
        return float(n) * UNITS[unit]
    failed = sum(int(n) for n in re.findall(r"(?:connect|read|write|timeout) (\d+)", out))
    errors = failed + sum(int(n) for n in re.findall(r"Non-2xx or 3xx responses: (\d+)", out))
    return {"rate": float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)), "p50": ms(50), "p99": ms(99),
            "errors": errors, "failed": failed, "requests": int(re.search(r"(\d+) requests in", out).group(1)), "stderr": done.stderr}


# -- paced ---------------------------------------------------------------------

def paced(build, targets, **options):
    """{name: what BUILD/bench/paced says of it}.  targets: (name, port, path, rate, connections[,
    file of a body]); options: those of paced, give_up for --give-up."""
    argv = [Path(build) / "bench/paced"]
    for name, value in options.items():
        argv += [f"--{name.replace('_', '-')}", value]
    for name, port, path, rate, connections, *body in targets:
        argv += ["--target", name, f"http://127.0.0.1:{port}{path}", rate, connections, *(["--body", *body] if body else [])]
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True)
    if done.returncode != 0:
        die(f"paced: {done.stderr.strip()}")
    return {t["name"]: t for t in json.loads(done.stdout)["targets"]}
