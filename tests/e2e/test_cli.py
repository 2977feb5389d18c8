"""The commands as people and scripts meet them: tana-edge's arguments, configuration,
start and end as a daemon; tana-ctl against servers that answer well and badly."""

import contextlib
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

import msgpack
import pytest
from conftest import BUILD, PATIENCE, ROOT, SOURCE, alive, descendants, free_port, proc_status, process, until

EDGE = BUILD / "tana-edge"
CTL = BUILD / "tana-ctl"


def run(program, *args, **kw):
    return subprocess.run([str(program), *map(str, args)], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=PATIENCE, check=False, **kw)


def edge(*args, **kw):
    return run(EDGE, *args, **kw)


@pytest.fixture
def config(tmp_path):
    def write(text):
        path = tmp_path / "edge.conf"
        path.write_text(text)
        return path
    return write


# -- tana-edge: arguments -----------------------------------------------------------

@pytest.mark.parametrize("args", [["--no-such-flag"], ["-x"], ["stray"], ["-c"], ["-o"], ["--check-config=1"],
                                  ["--front"], ["--front", "x"]])
def test_wrong_arguments_are_a_usage_error(args):
    done = edge(*args)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "tana-edge" in done.stderr


def option_names():
    text = (SOURCE / "common/options.def").read_text()
    return re.findall(r"^TN_OPT_[A-Z]+\s*\((\w+),", text, re.MULTILINE)


def test_help_has_every_option_and_every_flag():
    done = edge("--help")
    assert done.returncode == 0 and done.stderr == ""
    names = option_names()
    assert len(names) > 30
    for name in names:
        assert re.search(rf"^\s+{name}=", done.stdout, re.MULTILINE), name
    for flag in ("--config", "--option", "--daemon", "--check-config", "--dump-options"):
        assert flag in done.stdout


def test_manual_page_has_every_option():
    page = (BUILD / "supervisor/tana-edge.conf.5").read_text()
    for name in option_names():
        assert re.search(rf"^\.It Sy {name} ", page, re.MULTILINE), name
    assert "@" not in re.sub(r"-_\.:/@\[\]", "", page)


def test_manual_page_has_every_command():
    page = (BUILD / "supervisor/tana-ctl.8").read_text()
    commands = re.findall(r'^TN_COMMAND(?:_OWN)?\(\w+,\s*"(\w+)"', (SOURCE / "common/commands.def").read_text(), re.MULTILINE)
    assert "workers" in commands and len(commands) == len(set(commands))
    for name in commands:
        assert re.search(rf"^\.It Cm {name}\b", page, re.MULTILINE), name


def test_version_says_where_duktape_comes_from():
    done = edge("--version")
    assert done.returncode == 0
    first, second = done.stdout.splitlines()
    assert first.startswith("tana-edge 0.")
    assert re.fullmatch(r"tana-worker \S+, Duktape 2\.7\.\d \(.*(source|system).*\)", second)


def test_version_says_that_there_is_no_worker():
    done = edge("--version", "-o", "worker_program=/nonexistent/worker")
    assert done.returncode == 0
    assert "/nonexistent/worker" in done.stdout


def test_output_that_cannot_be_written_is_no_success():
    with open("/dev/full", "w", encoding="ascii") as full:
        for args in (["--help"], ["--dump-options"]):
            done = subprocess.run([EDGE, *args], stdout=full, stderr=subprocess.PIPE, check=False)
            assert done.returncode == 1


# -- tana-edge: configuration ---------------------------------------------------------

def test_unknown_option_on_the_command_line_is_named():
    done = edge("--check-config", "-o", "wrokers_min=3")
    assert done.returncode == 3
    assert "wrokers_min" in done.stderr


@pytest.mark.parametrize("text, line, what", [
    ("workers_min = 3\nno_such_option = 1\n", 2, "no_such_option"),
    ("\n\nworkers_min = many\n", 3, "workers_min"),
    ("workers_min = 0\n", 1, "workers_min"),
    ("# fine\nmemory_max = 1k\n", 2, "memory_max"),
    ("isolation = none\n", 1, "isolation"),
    ("cors = perhaps\n", 1, "cors"),
    ("workers_min = 3\nlisten = { a, \n", None, ""),
])
def test_errors_in_the_file_come_with_file_and_line(config, text, line, what):
    path = config(text)
    done = edge("--check-config", "-c", path)
    assert done.returncode == 3
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert str(path) in done.stderr and what in done.stderr
    if line is not None:
        assert f"{path}:{line}:" in done.stderr


@pytest.mark.parametrize("listen", ["8180", "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:-1", "::1:8180",
                                    "[127.0.0.1]:80", "localhost:8180", "unix:", "unix:/" + "x" * 120, "[::1]",
                                    ":8180", "127.0.0.1:80x"])
def test_addresses_that_are_none_are_refused(listen):
    done = edge("--check-config", "-o", f"listen={listen}")
    assert done.returncode == 3
    assert "listen" in done.stderr


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:8180", "*:8180", "0.0.0.0:80", "unix:/tmp/x.sock",
                                    "unix:relative.sock"])
def test_addresses_of_all_forms_are_taken(listen):
    assert edge("--check-config", "-o", f"listen={listen}").returncode == 0


def test_options_that_contradict_each_other_are_refused():
    done = edge("--check-config", "-o", "workers_min=20", "-o", "workers_max=10")
    assert done.returncode == 3
    assert "workers_m" in done.stderr


def test_named_file_must_exist(tmp_path):
    done = edge("--check-config", "-c", tmp_path / "none.conf")
    assert done.returncode == 3
    assert "none.conf" in done.stderr


def test_right_configuration_is_said_to_be(config):
    path = config("workers_min = 3\n")
    done = edge("--check-config", "-c", path)
    assert done.returncode == 0
    assert str(path) in done.stdout


def test_example_configuration_is_right():
    assert edge("--check-config", "-c", SOURCE / "supervisor/tana-edge.conf").returncode == 0


@pytest.mark.skipif(not ROOT, reason="only root changes users")
@pytest.mark.parametrize("options, what", [
    (["user=no-such-user"], "no-such-user"),
    (["worker_user=root"], "root"),
    (["user=nobody", "worker_user=nobody"], "user"),
])
def test_users_are_checked_as_root(options, what):
    done = edge("--check-config", *[w for o in options for w in ("-o", o)])
    assert done.returncode == 3
    assert what in done.stderr


def test_dump_reads_back_to_the_same(config):
    first = edge("--dump-options", "-o", "workers_min=7", "-o", "listen=unix:/tmp/a b.sock",
                 "-o", "listen=[::1]:81", "-o", 'log=/tmp/x"y\\z', "-o", "memory_max=33m", "-o", "cors=off",
                 "-o", "isolation=reuse", "-o", "trusted_proxies=10.0.0.0/8")
    assert first.returncode == 0, first.stderr
    second = edge("--dump-options", "-c", config(first.stdout))
    assert second.returncode == 0, second.stderr
    assert second.stdout == first.stdout
    for text in ("workers_min = 7", '/tmp/a b.sock', "[::1]:81", "10.0.0.0/8"):
        assert text in first.stdout


def test_command_line_wins_over_the_file(config):
    path = config("workers_min = 3\nworkers_max = 30\nlisten = { 127.0.0.1:1, 127.0.0.1:2 }\n")
    text = edge("--dump-options", "-o", "workers_min=5", "-c", path, "-o", "listen=127.0.0.1:3").stdout
    assert re.search(r"^workers_min = 5$", text, re.MULTILINE)
    assert re.search(r"^workers_max = 30$", text, re.MULTILINE)
    listen = re.search(r"^listen = (.*)$", text, re.MULTILINE).group(1)
    assert "127.0.0.1:3" in listen and "127.0.0.1:1" not in listen


def test_relative_paths_count_from_where_the_server_was_started(tmp_path):
    text = edge("--dump-options", "-o", "run_dir=r", "-o", "listen=unix:h.sock", "-o", "log=l", cwd=tmp_path).stdout
    assert f'run_dir = "{tmp_path}/r"' in text
    assert f"unix:{tmp_path}/h.sock" in text
    assert f'log = "{tmp_path}/l"' in text


# -- tana-edge: start and end -----------------------------------------------------------

class Place:
    """Directories of a server that may not even start."""

    def __init__(self, path):
        self.path = path
        (path / "contracts").mkdir()
        self.port = free_port()

    def args(self, **options):
        options = {"listen": f"127.0.0.1:{self.port}", "contracts": self.path / "contracts",
                   "run_dir": self.path / "run", "state_dir": self.path / "state", "workers_min": 1, **options}
        return [w for k, v in options.items() for w in ("-o", f"{k}={v}")]

    @property
    def control(self):
        return self.path / "run/control.sock"

    def pid(self):
        return int((self.path / "run/tana-edge.pid").read_text())


@pytest.fixture
def place(tmp_path):
    # (pytest's directories are closed to the users of the server's processes: that must not matter.)
    p = Place(tmp_path)
    yield p
    with contextlib.suppress(FileNotFoundError, ValueError):
        master = process(p.pid())
        if master is not None and "tana-edge" in master.argv[0]:
            os.kill(master.pid, signal.SIGKILL)
            pytest.fail("the test left a server behind")


@pytest.mark.parametrize("option, value, what", [
    ("contracts", "/nonexistent/contracts", "contracts: cannot open /nonexistent/contracts: No such file"),
    ("contracts", "/etc/passwd", "contracts: cannot open /etc/passwd: Not a directory"),
    ("run_dir", "/nonexistent/run", "run_dir: cannot make /nonexistent/run: No such file"),
    ("run_dir", "/proc/self", "run_dir: "),
    ("run_dir", "/tmp", "everybody can write to /tmp"),
    ("state_dir", "/etc/passwd", "state_dir: cannot open /etc/passwd: Not a directory"),
    ("worker_program", "/nonexistent/w", "worker_program: /nonexistent/w: No such file"),
    ("listen", "192.0.2.77:8180", "cannot listen on 192.0.2.77:8180: this machine has no such address"),
    ("listen", "unix:/nonexistent/http.sock", "cannot listen on unix:/nonexistent/http.sock: No such file"),
    ("log", "/nonexistent/log", "log: cannot open /nonexistent/log: No such file"),
])
def test_what_stops_the_start_is_named(place, option, value, what):
    done = edge(*place.args(**{option: value}))
    assert done.returncode == 1
    assert what in done.stderr
    assert not place.control.exists()


def test_port_in_use_is_said_to_be(place):
    with socket.socket() as s:
        s.bind(("127.0.0.1", place.port))
        s.listen()
        done = edge(*place.args())
    assert done.returncode == 1
    assert f"127.0.0.1:{place.port}: the address is in use" in done.stderr


def test_failure_is_said_on_standard_error_wherever_the_log_goes(place):
    done = edge(*place.args(contracts="/nonexistent/c", log=place.path / "log"))
    assert done.returncode == 1
    assert done.stderr == "tana-edge: contracts: cannot open /nonexistent/c: No such file or directory\n"
    assert "/nonexistent/c" in (place.path / "log").read_text()


def test_live_unix_socket_is_left_alone_and_a_stale_one_replaced(place):
    path = place.path / "http.sock"
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(path))
        s.listen()
        before = path.stat().st_ino
        done = edge(*place.args(listen=f"unix:{path}"))
        assert done.returncode == 1
        assert "another program listens there" in done.stderr
        assert path.stat().st_ino == before
    # Nobody listens now, but the file is there.
    assert edge("-d", *place.args(listen=f"unix:{path}", log=place.path / "log")).returncode == 0
    assert run(CTL, "-s", place.control, "stop").returncode == 0
    assert not path.exists()


def test_file_where_the_socket_should_be_is_left_alone(place):
    path = place.path / "http.sock"
    path.write_text("precious")
    done = edge(*place.args(listen=f"unix:{path}"))
    assert done.returncode == 1
    assert "something else than a socket" in done.stderr
    assert path.read_text() == "precious"


def test_daemon_returns_when_the_server_serves(place):
    done = edge("-d", *place.args(log=place.path / "log"))
    assert done.returncode == 0 and done.stderr == ""
    # No wait here: it serves already.
    with socket.create_connection(("127.0.0.1", place.port), timeout=PATIENCE) as s:
        s.sendall(b"GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert s.recv(12) == b"HTTP/1.1 404"
    pid = place.pid()
    master = process(pid)
    assert os.getsid(pid) == pid
    for fd in (0, 1):
        assert os.readlink(f"/proc/{pid}/fd/{fd}") == "/dev/null"
    assert os.readlink(f"/proc/{pid}/fd/2") == str(place.path / "log")
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert run(CTL, "-s", place.control, "stop").stdout == "stopped\n"
    assert not alive(master)		# stop has waited for it
    assert not place.control.exists()


def test_daemon_that_cannot_start_says_why_and_with_what_status(place):
    done = edge("-d", *place.args(contracts="/nonexistent/c", log=place.path / "log"))
    assert done.returncode == 1
    assert "/nonexistent/c" in done.stderr
    done = edge("-d", *place.args(worker_program="/bin/false", log=place.path / "log"))
    assert done.returncode == 6
    assert "the front ended while it started" in done.stderr
    assert not place.control.exists()


def test_second_daemon_is_refused_with_the_pid_of_the_first(place):
    assert edge("-d", *place.args(log=place.path / "log")).returncode == 0
    done = edge("-d", *place.args(listen="127.0.0.1:0", log=place.path / "log"))
    assert done.returncode == 4
    assert f"pid {place.pid()}" in done.stderr
    assert run(CTL, "-s", place.control, "ping").stdout == "pong\n"
    assert run(CTL, "-s", place.control, "stop").returncode == 0


def test_relative_paths_stay_what_they_were_when_the_daemon_reads_them_again(place):
    conf = place.path / "edge.conf"
    conf.write_text(f"listen = 127.0.0.1:{place.port}\ncontracts = contracts\nrun_dir = run\nstate_dir = state\n"
                    "log = log\nworkers_min = 1\n")
    assert edge("-d", "-c", "edge.conf", cwd=place.path).returncode == 0
    conf.write_text(conf.read_text() + "workers_max = 7\nmemory_max = 32m\n")
    assert run(CTL, "-s", place.control, "reload").returncode == 0
    log = place.path / "log"
    assert "only after a restart: memory_max\n" in log.read_text()
    assert run(CTL, "-s", place.control, "stop").returncode == 0


def test_systemd_is_told_when_it_serves_and_when_it_ends(place):
    path = str(place.path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(path)
        s.settimeout(PATIENCE)
        proc = subprocess.Popen([EDGE, *place.args(log=place.path / "log")], env=dict(os.environ, NOTIFY_SOCKET=path))
        try:
            assert b"READY=1" in s.recv(1000).splitlines()
            assert run(CTL, "-s", place.control, "drain").returncode == 0
            assert b"STOPPING=1" in s.recv(1000).splitlines()
            assert proc.wait(PATIENCE) == 0
        finally:
            if proc.poll() is None:
                proc.kill()
                proc.wait()


def test_killed_server_is_no_obstacle(place):
    proc = subprocess.Popen([EDGE, *place.args(log=place.path / "log")])
    until("it serves", lambda: run(CTL, "-s", place.control, "ping").returncode == 0)
    proc.kill()
    proc.wait()
    assert (place.path / "run/tana-edge.pid").exists() and place.control.exists()
    done = run(CTL, "-s", place.control, "ping")
    assert done.returncode == 5
    assert edge("-d", *place.args(log=place.path / "log")).returncode == 0
    assert run(CTL, "-s", place.control, "stop").returncode == 0


def test_init_script_starts_asks_and_stops(place):
    defaults = place.path / "defaults"
    conf = place.path / "edge.conf"
    options = place.args(log=place.path / "log")[1::2]
    conf.write_text("".join('{} = "{}"\n'.format(*o.split("=", 1)) for o in options))
    defaults.write_text(f"DAEMON='{EDGE}'\nCTL='{CTL}'\nCONFIG='{conf}'\nSTOP_SECONDS={PATIENCE}\n")

    def init(action):
        return run("/bin/sh", BUILD / "supervisor/tana-edge.init", action,
                   env=dict(os.environ, TANA_EDGE_DEFAULTS=str(defaults)))

    assert init("status").returncode == 3
    assert init("start").returncode == 0
    first = place.pid()
    assert init("start").returncode == 0 and place.pid() == first
    assert init("status").returncode == 0
    assert init("reload").returncode == 0
    assert init("restart").returncode == 0
    assert place.pid() != first
    # A configuration that is wrong does not take the server down.
    good = conf.read_text()
    second = place.pid()
    conf.write_text(good + "workers_max = nonsense\n")
    assert init("restart").returncode == 6
    conf.write_text(good)
    assert place.pid() == second
    assert init("stop").returncode == 0
    assert init("stop").returncode == 0
    assert init("status").returncode == 3
    assert init("nonsense").returncode == 2


@pytest.mark.skipif(shutil.which("node") is None, reason="no Node")
def test_compiler_sees_little_and_has_no_privilege(place):
    """Contracts below a directory that is closed to its user are compiled all the same."""
    contract = place.path / "contracts/typed"
    contract.mkdir()
    (contract / "get.ts").write_text("export const get = (): object => ({ typed: `yes` });\n")
    place.path.chmod(0o700)
    assert edge("-d", *place.args(log=place.path / "log")).returncode == 0
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{place.port}/typed", timeout=PATIENCE) as answer:
            assert json.load(answer) == {"typed": "yes"}
        found = [p for p in descendants(place.pid()) if "compile-server" in p.argv]
        assert found
        status = proc_status(found[0].pid)
        assert status["NoNewPrivs"] == "1"
        for caps in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
            assert int(status[caps], 16) == 0
        if ROOT:
            assert status["Uid"].split() == [str(pwd.getpwnam("nobody").pw_uid)] * 4
            assert status["Groups"] == ""
            assert os.readlink(f"/proc/{found[0].pid}/ns/net") != os.readlink("/proc/self/ns/net")
            root = Path(f"/proc/{found[0].pid}/root")
            assert not (root / "etc/passwd").exists() and not (root / "root").exists()
            assert (root / str(contract)[1:] / "get.ts").exists()
            # Nobody but it can be seen in its /proc.
            assert [n for n in os.listdir(root / "proc") if n.isdigit()][:1] == ["1"]
    finally:
        assert run(CTL, "-s", place.control, "stop").returncode == 0
    assert not any(alive(p) for p in found)


# -- tana-ctl ----------------------------------------------------------------------------

class FakeServer:
    """A control socket that answers with what the test says: {method: result, Exception, bytes (raw),
    or a function of the parameters that gives a result or an Exception}."""

    def __init__(self, path, answers):
        self.path, self.answers, self.calls = path, answers, []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                with client:
                    self.talk(client)

    def talk(self, client):
        unpacker = msgpack.Unpacker(raw=False)
        while data := client.recv(65536):
            unpacker.feed(data)
            for kind, number, method, params in unpacker:
                assert kind == 0
                self.calls.append((method, params))
                answer = self.answers.get(method, RuntimeError("no such method"))
                if callable(answer):
                    answer = answer(*params)
                elif isinstance(answer, bytes):
                    client.sendall(answer)
                    return
                if isinstance(answer, Exception):
                    client.sendall(msgpack.packb([1, number, str(answer), None]))
                else:
                    client.sendall(msgpack.packb([1, number, None, answer]))

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(PATIENCE)


@pytest.fixture
def fake(tmp_path):
    servers = []

    def start(answers):
        servers.append(FakeServer(tmp_path / "control.sock", answers))
        return servers[-1]
    yield start
    for s in servers:
        s.close()


def ctl(server, *args):
    return run(CTL, "-s", server.path, *args)


@pytest.mark.parametrize("args", [[], ["frobnicate"], ["ping", "x"], ["status", "--xml"], ["recycle", "abc"],
                                  ["recycle", "0"], ["recycle", "-1"], ["recycle", "1", "2"], ["recycle", "--contract"],
                                  ["recycle", "--contract", ""], ["recycle", "99999999999"], ["reload", "a", "b"],
                                  ["stop", "now"], ["drain", "now"], ["storage", "x"], ["backup"],
                                  ["backup", ""], ["backup", "-x"], ["backup", "a", "b"],
                                  ["top", "x"], ["top", "--interval"],
                                  ["top", "--interval", "0"], ["top", "--interval=1s"], ["top", "--interval", "nan"],
                                  ["--frob", "ping"], ["-s"]])
def test_ctl_wrong_arguments_are_a_usage_error(args, tmp_path):
    where = [] if args in (["-s"], ["--frob", "ping"]) else ["-s", tmp_path / "none.sock"]
    done = run(CTL, *where, *args)
    assert done.returncode == 2
    assert done.stdout == ""


def test_ctl_help_has_every_command():
    done = run(CTL, "--help")
    assert done.returncode == 0
    for name in ("ping", "status", "stats", "workers", "storage", "top", "backup", "recycle", "reload", "drain", "stop"):
        assert re.search(rf"^  {name}\b", done.stdout, re.MULTILINE)
    assert run(CTL, "--version").stdout.startswith("tana-ctl 0.")


@pytest.mark.parametrize("command", ["ping", "status", "workers", "storage", "top", "recycle", "reload", "drain", "stop"])
def test_ctl_without_server_says_so_in_one_line(tmp_path, command):
    path = tmp_path / "none.sock"
    done = run(CTL, "-s", path, command)
    assert done.returncode == 5
    assert done.stdout == ""
    assert done.stderr == f"tana-ctl: no server there: {path}: No such file or directory\n"


def test_ctl_with_a_socket_that_nobody_listens_on(tmp_path):
    path = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(path))
    done = run(CTL, "-s", path, "ping")
    assert done.returncode == 5
    assert "no server there" in done.stderr


def test_ctl_finds_the_socket_by_the_configuration(fake, config, tmp_path):
    fake({"ping": "pong"})
    assert run(CTL, "-c", config(f'run_dir = "{tmp_path}"\n'), "ping").stdout == "pong\n"
    done = run(CTL, "-c", config("run_dri = /x\n"), "ping")
    assert done.returncode == 3
    assert "run_dri" in done.stderr


STATUS = {"version": "0.1.0", "pid": 1234, "state": "serving", "uptime_seconds": 61, "generation": 2,
          "isolation": "snapshot", "restore": "scan", "sandbox": "full",
          "duktape": "source", "workers": 4, "contracts": 3,
          "layers": ["pidns", "seccomp"]}
WORKERS = [{"pid": 4242, "generation": 1, "state": "idle", "contract": "hello", "requests": 17, "age": 75.25,
            "private_bytes": 3 << 20, "shared_bytes": 5 << 20, "images": 2, "frames": 0},
           {"pid": 7, "generation": 12, "state": "standby", "contract": "", "requests": 0, "age": 0.5,
            "private_bytes": 512, "shared_bytes": 0, "images": 0, "frames": 0}]
CONTRACTS = [{"contract": "hello", "state": "serving", "version": 3, "isolation": "snapshot", "allow": "GET, HEAD",
              "requests": 17, "image_bytes": 5 << 10},
             {"contract": "broken", "state": "failed", "version": 0, "isolation": "", "allow": "", "requests": 1,
              "image_bytes": 0}]
STATS = {"requests": 12, "workers": 4,
         "phases": {"queue": {"count": 12, "mean_us": 15, "p50_us": 11, "p99_us": 1700, "max_us": 2500}}}


def test_ctl_status_is_a_table_or_json(fake):
    server = fake({"status": STATUS})
    lines = ctl(server, "status").stdout.splitlines()
    assert [line.split(None, 1) for line in lines if line.startswith(("pid", "layers"))] == \
        [["pid", "1234"], ["layers", "pidns seccomp"]]
    assert len({line.index(line.split(None, 1)[1]) for line in lines}) == 1	# one column
    assert json.loads(ctl(server, "status", "--json").stdout) == STATUS


def test_ctl_workers_is_a_table_or_json(fake):
    server = fake({"workers": WORKERS})
    lines = ctl(server, "workers").stdout.splitlines()
    assert [line.split() for line in lines] == [
        ["PID", "GENERATION", "STATE", "CONTRACT", "REQUESTS", "AGE", "PRIVATE", "SHARED", "IMAGES"],
        ["4242", "1", "idle", "hello", "17", "1m15s", "3.0M", "5.0M", "2"],
        ["7", "12", "standby", "-", "0", "0s", "512", "0", "0"]]
    assert len({len(line) for line in lines}) == 1
    assert json.loads(ctl(server, "workers", "--json").stdout) == WORKERS


def test_ctl_contracts_is_a_table_or_json(fake):
    server = fake({"contracts": CONTRACTS})
    lines = ctl(server, "contracts").stdout.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["CONTRACT", "hello", "broken"]
    assert lines[1].split() == ["hello", "serving", "3", "snapshot", "GET,", "HEAD", "17", "5.0K"]
    assert json.loads(ctl(server, "contracts", "--json").stdout) == CONTRACTS


def test_ctl_rotate_says_what_serves_now(fake):
    assert ctl(fake({"rotate": {"generation": 7}}), "rotate").stdout == "generation 7 serves\n"


def test_ctl_stats_has_values_and_phases(fake):
    server = fake({"stats": STATS})
    lines = [line.split() for line in ctl(server, "stats").stdout.splitlines()]
    assert ["requests", "12"] in lines
    assert ["queue", "12", "0.015", "0.011", "1.700", "2.500"] in lines
    assert json.loads(ctl(server, "stats", "--json").stdout) == STATS


def test_ctl_table_of_no_workers_is_its_heading(fake):
    server = fake({"workers": []})
    assert ctl(server, "workers").stdout.splitlines()[0].startswith("PID")
    assert json.loads(ctl(server, "workers", "--json").stdout) == []


def test_ctl_lets_no_text_command_the_terminal(fake):
    evil = "x\x1b[31m\x07\ny"
    server = fake({"workers": [dict(WORKERS[0], contract=evil)], "status": dict(STATUS, state=evil),
                   "ping": RuntimeError(evil)})
    for command in ("workers", "status", "ping"):
        done = ctl(server, command)
        assert "\x1b" not in done.stdout + done.stderr and "\x07" not in done.stdout + done.stderr
    assert json.loads(ctl(server, "workers", "--json").stdout)[0]["contract"] == evil


@pytest.mark.parametrize("args, params", [
    ([], [{"all": True}]), (["--all"], [{"all": True}]), (["4711"], [{"pid": 4711}]),
    (["--contract", "hello"], [{"contract": "hello"}]), (["--contract=hello"], [{"contract": "hello"}]),
])
def test_ctl_recycle_asks_for_what_was_meant(fake, args, params):
    server = fake({"recycle": {"recycled": 1}})
    done = ctl(server, "recycle", *args)
    assert (done.returncode, done.stdout) == (0, "1 worker replaced\n")
    assert server.calls == [("recycle", params)]


def test_ctl_reload_asks_for_all_or_one(fake):
    server = fake({"reload": {"contracts": 3}})
    assert ctl(server, "reload").stdout == "3 contracts\n"
    assert ctl(server, "reload", "hello").returncode == 0
    assert server.calls == [("reload", []), ("reload", ["hello"])]


def test_ctl_tells_what_the_server_refuses(fake):
    server = fake({"recycle": RuntimeError("no worker has this pid")})
    done = ctl(server, "recycle", "1")
    assert done.returncode == 1
    assert done.stdout == "" and done.stderr == "tana-ctl: no worker has this pid\n"


@pytest.mark.parametrize("method, answer", [
    ("status", 17), ("status", [1]), ("workers", {"a": 1}), ("stats", {}), ("stats", {"phases": 3}),
    ("storage", [1]),
    ("recycle", {}), ("recycle", {"recycled": "many"}), ("reload", None), ("ping", "pang"),
])
def test_ctl_does_not_take_nonsense_for_success(fake, method, answer):
    server = fake({method: answer})
    done = ctl(server, method)
    assert done.returncode == 1
    assert "makes no sense" in done.stderr


@pytest.mark.parametrize("answer, code, what", [
    (b"", 5, "ended before it answered"), (b"\x94\x01", 5, "ended before it answered"),
    (b"\xc1", 1, "malformed"), (b"\x94\x01\xcd\x27\x0f\xc0\xc3", 1, "malformed"),
    (b"HTTP/1.1 200 OK\r\n\r\n", 1, "malformed"), (b"\xdd\xff\xff\xff\xff", 1, "limit"),
])
def test_ctl_survives_a_server_that_breaks_the_protocol(fake, answer, code, what):
    done = ctl(fake({"status": answer}), "status")
    assert done.returncode == code
    assert len(done.stderr.splitlines()) == 1 and what in done.stderr


def backup_of(parts):
    """Answers to `backup`: how long it is, and each part by its place."""
    places, at = {}, 0
    for part in parts:
        places[at] = part
        at += len(part)
    return lambda *params: {"bytes": at} if not params else places[params[0]]


def test_ctl_backup_puts_the_parts_together(fake, tmp_path):
    file = tmp_path / "backup"
    server = fake({"backup": backup_of([b"abc", b"d" * 100000, bytes(range(256))])})
    done = ctl(server, "backup", file)
    assert (done.returncode, done.stdout) == (0, "100259 bytes\n")
    assert file.read_bytes() == b"abc" + b"d" * 100000 + bytes(range(256))
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("answer, code", [
    (RuntimeError("Storage is full"), 1), ({}, 1), ({"bytes": 0}, 1), (b"", 5), (lambda *p: {"bytes": 5} if not p else "text", 1),
    (lambda *p: {"bytes": 5} if not p else b"", 1), (lambda *p: {"bytes": 5} if not p else b"longer than that", 1),
    (lambda *p: {"bytes": 5} if not p else RuntimeError("the copy cannot be read"), 1),
])
def test_ctl_backup_leaves_nothing_half_done(fake, tmp_path, answer, code):
    file = tmp_path / "backup"
    done = ctl(fake({"backup": answer}), "backup", file)
    assert done.returncode == code and done.stderr
    assert done.stdout == ""
    assert not file.exists()


def test_ctl_backup_that_is_interrupted_leaves_nothing(fake, tmp_path):
    file = tmp_path / "backup"
    server = fake({"backup": lambda *p: {"bytes": 5} if not p else time.sleep(3) or b""})
    waiting = subprocess.Popen([CTL, "-s", server.path, "backup", file], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until("it has begun", lambda: ("backup", [0]) in server.calls)
    assert file.exists()
    waiting.terminate()
    waiting.communicate(timeout=PATIENCE)
    assert waiting.returncode == -15
    assert not file.exists()


def test_ctl_stop_returns_when_the_process_has_ended(fake):
    """The fake's `pid` is a process of ours that ends only after stop was answered."""
    proc = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)
    try:
        server = fake({"status": dict(STATUS, pid=proc.pid), "stop": True})
        waiting = subprocess.Popen([CTL, "-s", server.path, "stop"], stdout=subprocess.PIPE, text=True)
        until("stop was asked for", lambda: ("stop", []) in server.calls)
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(0.3)
        proc.stdin.close()
        proc.wait(PATIENCE)
        assert waiting.communicate(timeout=PATIENCE)[0] == "stopped\n"
        assert waiting.returncode == 0
    finally:
        proc.kill()
        proc.wait()
