"""What every end-to-end test needs: real servers, and their processes.

A server is started from the build that TANA_BUILD names, in a directory of its
own, on a free port.  All waits are for an event and bounded by PATIENCE; what a
test started is ended by pid, and a server that leaves a process behind, or in
whose log a sanitizer speaks, fails the test that used it.
"""

import collections
import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

SOURCE = Path(os.environ["TANA_SOURCE"])
BUILD = Path(os.environ["TANA_BUILD"])
SANITIZED = bool(os.environ.get("TANA_SANITIZERS", "").strip())
PATIENCE = 60		# seconds; only a failure ever waits so long
TURN = 0.02		# between two looks at something that tells nobody

ROOT = os.getuid() == 0
FAKE = Path(__file__).with_name("fake_worker")


def until(what, condition, patience=PATIENCE):
    """Wait until condition() is true; its value."""
    end = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {patience} s: {what}")
        time.sleep(TURN)


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


# -- processes ---------------------------------------------------------------

Process = collections.namedtuple("Process", "pid ppid start state argv")


def process(pid):
    """What /proc says of a process; None when it is gone (a zombie is)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return None
    rest = stat.rpartition(")")[2].split()
    if rest[0] in "ZX":
        return None
    return Process(pid, int(rest[1]), int(rest[19]), rest[0], [a.decode() for a in argv if a])


def alive(p):
    """Is this very process (not another with its pid) still there?"""
    now = process(p.pid)
    return now is not None and now.start == p.start


def descendants(pid):
    children = collections.defaultdict(list)
    for name in os.listdir("/proc"):
        if name.isdigit() and (p := process(int(name))):
            children[p.ppid].append(p)
    found, todo = [], [pid]
    while todo:
        for p in children[todo.pop()]:
            found.append(p)
            todo.append(p.pid)
    return found


def proc_status(pid):
    """/proc/PID/status as a dict."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict((k, v.strip()) for k, _, v in (line.partition(":") for line in lines))


# -- answers -----------------------------------------------------------------

class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def text(self):
        return self.body.decode()

    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        """The error's code."""
        return self.json()["error"]["code"]

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


class Server:
    """A running tana-edge.  Use `start` (fixture) or `with Server(...)`."""

    everyone = []		# for the report of a failed test

    def __init__(self, contracts=None, fake=None, config=None, wait=True, args=(), env=None,
                 base=None, **options):
        """contracts: {id: {file name: text}}, or None: a copy of tests/contracts.
        fake: a Fake's behaviour.  config: text of a configuration file.  base:
        another server, whose directories are used again.  In options {dir} is
        the server's directory, {port} its port."""
        if not (BUILD / "tana-edge").exists():
            pytest.fail(f"{BUILD}/tana-edge is not built", pytrace=False)
        if base is None:
            self.dir = Path(tempfile.mkdtemp(prefix="tana-e2e-"))
            self.dir.chmod(0o755)		# other users' processes must come through
            self.contracts = self.dir / "contracts"
            if contracts is None:
                shutil.copytree(SOURCE / "tests/contracts", self.contracts, symlinks=True)
                for p in [self.contracts, *self.contracts.rglob("*")]:	# distcheck's are read-only
                    p.chmod(p.stat().st_mode | 0o200)
            else:
                self.contracts.mkdir()
                for name, files in contracts.items():
                    self.write(name, files)
        else:
            self.dir, self.contracts = base.dir, base.contracts
        self.run_dir = self.dir / "run"
        self.state_dir = self.dir / "state"
        self.state_dir.mkdir(exist_ok=True)
        self.log_path = self.dir / "log"
        self.config_path = self.dir / "config"
        self.http_port = free_port()
        self.proc = None
        self.exit_code = None
        self.seen = {}
        self.broken = False	# the test killed it, or wants it to fail
        self.last_log = ""
        self.env = dict(os.environ, **(env or {}))

        options = {"listen": f"127.0.0.1:{self.http_port}", "contracts": self.contracts,
                   "run_dir": self.run_dir, "state_dir": self.state_dir, "workers_min": 2, "workers_standby": 0,
                   "log_level": "debug", "audit": "always", **options}
        if fake is not None:
            self.fake = Fake(self.dir, fake)
            options["worker_program"] = self.fake.path
            options.setdefault("sandbox", "available")
            options.setdefault("breaker_deaths", 0)	# it dies for all kinds of reasons
        self.command = [str(BUILD / "tana-edge"), *args]
        if config is not None:
            self.config_path.write_text(config)
            self.command += ["-c", str(self.config_path)]
        for name, value in options.items():
            for v in value if isinstance(value, (list, tuple)) else [value]:
                if isinstance(v, bool):
                    v = "on" if v else "off"
                v = str(v).replace("{dir}", str(self.dir)).replace("{port}", str(self.http_port))
                self.command += ["-o", f"{name}={v}"]
        self.options = options
        Server.everyone.append(self)
        self.start()
        if wait:
            self.wait_serving()

    # -- life

    def start(self):
        self.exit_code = None
        with open(self.log_path, "ab") as log:
            self.proc = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log,
                                         stderr=log, env=self.env, cwd=self.dir)
        self.master = process(self.proc.pid)

    def wait_serving(self):
        """It listens when its workers are ready: one connection tells."""
        def answers():
            if self.proc.poll() is not None:
                raise AssertionError(f"the server ended with {self.proc.returncode}:\n{self.log[-4000:]}")
            try:
                return self.get("/") is not None
            except (ConnectionError, http.client.HTTPException):
                return False
        until("the server answers", answers)
        self.family()

    def write(self, contract, files):
        """Put files into a contract's directory, each at once and as new."""
        d = self.contracts / contract
        d.mkdir(exist_ok=True)
        for name, text in files.items():
            new = d / f".{name}.new"
            new.write_text(text)
            new.rename(d / name)

    def touch(self, contract, name, ago=0):
        """Make a file look as if it had been written so many seconds ago."""
        t = time.time() - ago
        os.utime(self.contracts / contract / name, (t, t))

    def send_signal(self, sig):
        os.kill(self.proc.pid, sig)

    def wait(self, patience=PATIENCE):
        """Wait for the server's own end; its exit status."""
        try:
            self.exit_code = self.proc.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the server has not ended within {patience} s") from None
        return self.exit_code

    def stop(self, sig=signal.SIGTERM):
        self.family()
        self.send_signal(sig)
        return self.wait()

    def close(self):
        """The end of a test: end it, and see that it was in order."""
        problems = []
        if self.proc.poll() is None:
            self.family()
            self.send_signal(signal.SIGTERM)
            try:
                code = self.wait()
                if code != 0 and not self.broken:
                    problems.append(f"the server ended with {code}")
            except AssertionError as e:
                problems.append(str(e))
                self.proc.kill()
                self.proc.wait()
        with contextlib.suppress(AssertionError):
            until("all its processes are gone", lambda: not self.survivors(), 20)
        for p in self.survivors():
            problems.append(f"left behind: {p}")
            with contextlib.suppress(ProcessLookupError):
                os.kill(p.pid, signal.SIGKILL)
        log = self.log
        for word in ("AddressSanitizer", "LeakSanitizer", "runtime error:", "panic:"):
            if word in log:
                problems.append(f"{word} in the log")
        self.last_log = log
        shutil.rmtree(self.dir, ignore_errors=True)
        if problems:
            pytest.fail("; ".join(problems) + "\n" + log[-8000:], pytrace=False)

    # -- its processes

    def family(self):
        """All processes of it now; all ever seen are remembered."""
        now = descendants(self.proc.pid) if self.proc.poll() is None else []
        for p in now:
            self.seen[p.pid, p.start] = p
        return now

    def survivors(self):
        return [p for p in self.seen.values() if alive(p)]

    def zygotes(self):
        return [p for p in self.family() if p.ppid == self.proc.pid and "--zygote" in p.argv]

    def zygote_pids(self):
        return [p.pid for p in self.zygotes()]

    def worker_pids(self):
        zygotes = set(self.zygote_pids())
        return [p.pid for p in self.family() if p.ppid in zygotes]

    def front_pid(self):
        """The other tana-edge."""
        def look():
            found = [p.pid for p in self.family() if p.ppid == self.proc.pid and "--front" in p.argv]
            return found[0] if len(found) == 1 else None
        return until("there is one front", look)

    # -- talking to it

    def connection(self, timeout=PATIENCE):
        return http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=timeout)

    def request(self, method, path, body=None, headers=None, timeout=PATIENCE):
        c = self.connection(timeout)
        try:
            c.request(method, path, body=body, headers=headers or {})
            return Answer(c.getresponse())
        finally:
            c.close()

    def get(self, path, **kw):
        return self.request("GET", path, **kw)

    def post(self, path, body=b"", **kw):
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        return self.request("POST", path, body=body, **kw)

    def begin(self, method, path, body=None, headers=None):
        """Send a request, and return: .finish() on the result gives the answer."""
        c = self.connection()
        c.request(method, path, body=body, headers=headers or {})
        return Pending(c)

    def raw(self, data=b"", timeout=PATIENCE):
        s = socket.create_connection(("127.0.0.1", self.http_port), timeout=timeout)
        if data:
            s.sendall(data)
        return s

    def ctl(self, *args, check=True):
        """Run tana-ctl; the finished process, with text."""
        done = subprocess.run([str(BUILD / "tana-ctl"), "-s", str(self.run_dir / "control.sock"), *args],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=2 * PATIENCE, env=self.env, check=False)
        if check:
            assert done.returncode == 0, f"tana-ctl {' '.join(args)}: {done.returncode}: {done.stderr}"
        return done

    def workers(self):
        return json.loads(self.ctl("workers", "--json").stdout)

    def stats(self):
        return json.loads(self.ctl("stats", "--json").stdout)

    def status(self):
        return json.loads(self.ctl("status", "--json").stdout)

    # -- its log

    @property
    def log(self):
        try:
            return self.log_path.read_text(errors="replace")
        except FileNotFoundError:
            return self.last_log

    def log_lines(self, *parts):
        """The records that hold all the parts."""
        return [line for line in self.log.splitlines() if all(p in line for p in parts)]

    def wait_log(self, *parts, count=1):
        return until(f"the log says {parts}", lambda: len(found := self.log_lines(*parts)) >= count and found)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Pending:
    def __init__(self, connection):
        self.connection = connection

    def finish(self):
        try:
            return Answer(self.connection.getresponse())
        finally:
            self.connection.close()

    def leave(self):
        """Reset the connection: an end of file alone may come from a client that still reads."""
        self.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


class Fake:
    """A copy of fake_worker and how it is to behave; .set() changes that for what forks later."""

    def __init__(self, where, behaviour):
        self.path = where / "fake_worker"
        shutil.copy(FAKE, self.path)
        self.path.chmod(0o755)
        self.set(behaviour)

    def set(self, behaviour):
        new = Path(f"{self.path}.new")
        new.write_text(json.dumps(behaviour))
        new.chmod(0o644)
        new.rename(f"{self.path}.json")


def make_starter(servers):
    def start(*args, **kw):
        server = Server.__new__(Server)
        servers.append(server)
        server.__init__(*args, **kw)
        return server
    return start


def close_all(servers):
    problems = []
    for server in reversed(servers):
        if getattr(server, "proc", None) is None:
            continue
        try:
            server.close()
        except pytest.fail.Exception as e:
            problems.append(str(e))
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


@pytest.fixture
def start():
    """start(...): a Server for one test."""
    servers = []
    yield make_starter(servers)
    close_all(servers)


@pytest.fixture(scope="module")
def start_module():
    """start_module(...): a Server for all tests of a file."""
    servers = []
    yield make_starter(servers)
    close_all(servers)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_setup(item):
    item.log_marks = {id(s): len(s.log) for s in Server.everyone if hasattr(s, "proc") and s.dir.exists()}
    yield


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        marks = getattr(item, "log_marks", {})
        for s in Server.everyone:
            if s.dir.exists() and (text := s.log[marks.get(id(s), 0):]):
                report.sections.append((f"log of the server {s.dir.name}", text[-6000:]))
