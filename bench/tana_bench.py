"""What the measurements share: servers that are ended by pid, in a directory of
their own; wrk; what /proc says of memory."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
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
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))]


# -- servers -----------------------------------------------------------------

class Processes:
    """Something that answers on a port; its processes are ended in reverse order."""

    def __init__(self, name, where):
        self.name = name
        self.dir = Path(where) / re.sub(r"\W+", "-", name)
        self.dir.mkdir()
        self.dir.chmod(0o755)		# other users' processes must come through
        self.port = free_port()
        self.processes = []

    def spawn(self, *argv):
        with open(self.dir / "output", "ab") as out:
            self.processes.append(subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL,
                                                   stdout=out, stderr=out, cwd=self.dir))

    @property
    def output(self):
        return (self.dir / "output").read_text(errors="replace")

    def get(self, path="/hello", timeout=60):
        """(status, body) over a connection of its own."""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            c.request("GET", path)
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
        """The exit statuses, of the last process first."""
        codes = []
        for p in reversed(self.processes):
            if p.poll() is None:
                p.send_signal(signal.SIGTERM)
            try:
                p.wait(60)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
            codes.append(p.returncode)
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

    def family(self):
        """{pid: argv} of all its processes."""
        children, argv = {}, {}
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    stat = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
                    argv[int(name)] = Path(f"/proc/{name}/cmdline").read_bytes().decode(errors="replace").split("\0")
                except OSError:
                    continue
                if stat[0] not in "ZX":
                    children.setdefault(int(stat[1]), []).append(int(name))
        found = [self.processes[0].pid]
        for pid in found:
            found += children.get(pid, [])
        return {pid: argv[pid] for pid in found if pid in argv}

    def front(self):
        return next(pid for pid, argv in self.family().items() if "--front" in argv)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()


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
