"""Another program takes over, under load and in all the ways in which that can fail; sockets of
systemd's; what systemd is told."""

import collections
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import msgpack
import pytest
from conftest import BUILD, PATIENCE, SANITIZED, Server, alive, descendants, free_port, process, until
from counted import CONTRACT, Counted

CONTRACTS = {
    "id": CONTRACT,
    "slow": {"get.js": """
exports.get = function (req) {
	return new Promise(function (resolve) {
		setTimeout(function () { resolve({ id: req.query.id }); }, Number(req.query.ms));
	});
};
"""},
}
N = 300 if SANITIZED else 2000		# answers between two steps


class Upgradable(Server):
    """A server whose pid changes; its program is a copy, which a test may replace."""

    def __init__(self, contracts=None, **kw):
        self.programs = None
        super().__init__(contracts or CONTRACTS, **{"workers_min": 2, "upgrade_timeout_ms": 60000, **kw})

    def start(self):
        if self.programs is None:
            self.programs = self.dir / "bin"
            self.programs.mkdir()
            for name in ("tana-edge", "tana-worker"):
                shutil.copy(BUILD / name, self.programs / name)
            self.command[0] = str(self.programs / "tana-edge")
        super().start()

    def replace(self, text=None, mode=0o755):
        """Another program, or none."""
        path = self.programs / "tana-edge"
        if text is None:
            path.unlink()
            return
        new = Path(f"{path}.new")
        if isinstance(text, Path):
            shutil.copy(text, new)
        else:
            new.write_text(text)
        new.chmod(mode)
        new.rename(path)

    @property
    def pid(self):
        return int((self.run_dir / "tana-edge.pid").read_text())

    def family(self):
        roots = {self.proc.pid} if self.proc.poll() is None else set()
        try:
            roots.add(self.pid)
        except (FileNotFoundError, ValueError):
            pass
        now = []
        for root in roots:
            if p := process(root):
                now += [p, *descendants(root)]
        for p in now:
            self.seen[p.pid, p.start] = p
        return now

    def upgrade(self):
        before = self.pid
        self.family()
        done = self.ctl("upgrade")
        assert self.pid != before
        assert done.stdout == f"pid {self.pid} serves now; pid {before} finishes what it has, and ends\n"
        self.family()
        return before

    def close(self):
        self.family()
        # The one that serves now may be another than what was started, which may still be ending.
        if not self.broken and (self.run_dir / "tana-edge.pid").exists() and self.pid != self.proc.pid:
            self.ctl("stop")
        super().close()


@pytest.fixture
def begin():
    servers = []

    def start(*args, **kw):
        server = Upgradable.__new__(Upgradable)
        servers.append(server)
        server.__init__(*args, **kw)
        return server
    yield start
    for s in servers:
        if getattr(s, "proc", None) is not None:
            s.close()


def more(load, n):
    want = load.so_far + n
    until(f"{n} more answers", lambda: load.so_far >= want, 3 * PATIENCE)


def each_once(server, load):
    """By the client's count, and by the server's log: an id is answered once."""
    assert load.errors == [] and load.nerrors == 0
    assert load.answers == load.sent > 0
    ids = collections.Counter(re.findall(r"request_id=(c\d+-\d+-\d+) ", server.log))
    assert len(ids) == load.answers and set(ids.values()) == {1}


# -- under load --------------------------------------------------------------------------

def test_upgrades_recycles_and_reloads_lose_and_double_nothing(begin):
    s = begin()
    pids = {s.pid}
    with Counted(s.http_port) as load:
        more(load, N // 4)
        for _ in range(3):
            s.upgrade()
            pids.add(s.pid)
            s.ctl("recycle", "--all")
            for _ in range(5):
                s.ctl("reload")
            more(load, N // 4)
        s.send_signal = lambda sig: os.kill(s.pid, sig)
        before = s.pid
        s.send_signal(signal.SIGUSR2)
        until("another serves", lambda: s.pid != before)
        pids.add(s.pid)
        more(load, N // 4)
    assert len(pids) == 5
    each_once(s, load)
    assert load.reconnects > 0


def test_fifty_reloads_lose_nothing_also_with_options_for_a_restart_and_broken_files(begin):
    s = begin(config="server_timing = off\n")
    with Counted(s.http_port, connections=6) as load:
        more(load, N // 10)
        for i in range(50):
            if i % 3 == 0:
                s.config_path.write_text(f"server_timing = on\nbody_max = {i + 1}k\nmemory_max = 32m\n")
                done = s.ctl("reload")
                assert "body_max" in done.stderr and "memory_max" in done.stderr
                assert "server_timing" not in done.stderr
            elif i % 3 == 1:
                s.config_path.write_text("server_timing = on\n\nbroken\n")
                done = s.ctl("reload", check=False)
                assert done.returncode == 1 and f"{s.config_path}:3" in done.stderr
            else:
                s.config_path.write_text("server_timing = off\n")
                assert s.ctl("reload").stderr == ""
            time.sleep(0.1)		# the master takes ten a second
        more(load, N // 10)
    each_once(s, load)


def test_request_in_progress_is_finished_by_the_old_one(begin):
    s = begin(deadline_ms=60000)
    slow = s.begin("GET", "/slow?ms=1500&id=7")
    until("it runs", lambda: s.stats()["requests_running"] == 1)
    before = process(s.upgrade())
    assert before is not None		# it still has it
    assert s.get("/id?id=1").json() == {"id": "1"}
    a = slow.finish()
    assert (a.status, a.json()) == (200, {"id": "7"})
    assert a.headers["connection"] == "close"
    until("the old one ends", lambda: not alive(before))
    assert s.wait() == 0


def test_idle_connection_has_one_more_answer_of_the_old_one(begin):
    s = begin()
    c = s.connection()
    c.request("GET", "/id?id=1")
    r = c.getresponse()
    assert r.read() and r.headers["connection"] != "close"
    s.upgrade()
    time.sleep(0.5)
    c.request("GET", "/id?id=2")
    r = c.getresponse()
    assert json.loads(r.read()) == {"id": "2"} and r.headers["connection"] == "close"
    assert s.wait() == 0


def test_idle_connections_hold_the_old_one_up_for_drain_timeout_at_most(begin):
    s = begin(drain_timeout_ms=1000)
    c = s.connection()
    c.request("GET", "/id?id=1")
    c.getresponse().read()
    s.upgrade()
    assert s.wait() == 0
    c.close()


def test_stop_ends_both_and_returns_when_both_have_ended(begin):
    s = begin(deadline_ms=60000)
    slow = s.begin("GET", "/slow?ms=1200&id=7")
    idle = s.connection()
    idle.request("GET", "/id?id=1")
    idle.getresponse().read()
    until("it runs", lambda: s.stats()["requests_running"] == 1)
    old = process(s.upgrade())
    s.family()
    s.ctl("stop")
    assert not alive(old) and s.wait() == 0
    assert slow.finish().json() == {"id": "7"}
    idle.close()
    assert not (s.run_dir / "tana-edge.pid").exists() and not (s.run_dir / "control.sock").exists()


def test_new_configuration_comes_with_the_upgrade(begin):
    first, second = free_port(), free_port()
    s = begin(config="", listen=["127.0.0.1:{port}", "unix:{dir}/a.sock"])
    listen = f"127.0.0.1:{s.http_port}"
    s.command[:] = [a for i, a in enumerate(s.command)
                    if not a.startswith("listen=") and not (a == "-o" and s.command[i + 1].startswith("listen="))]
    s.config_path.write_text(f'listen = {{ "{listen}", "127.0.0.1:{first}", "unix:{s.dir}/a.sock" }}\nmemory_max = 32m\n')
    assert s.stop() == 0
    s.start()
    s.wait_serving()
    a, b = s.dir / "a.sock", s.dir / "b.sock"
    inode = a.stat().st_ino
    s.upgrade()
    assert a.stat().st_ino == inode
    s.config_path.write_text(f'listen = {{ "127.0.0.1:{second}", "{listen}", "unix:{b}" }}\n')
    s.upgrade()
    assert s.get("/id?id=1").status == 200
    with socket.create_connection(("127.0.0.1", second), PATIENCE):
        pass
    with socket.socket(socket.AF_UNIX) as u:
        u.connect(str(b))
    assert not a.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", first), PATIENCE)
    # A port that the kernel chose, and a path that somebody has removed.
    b.unlink()
    s.upgrade()
    with socket.socket(socket.AF_UNIX) as u:
        u.connect(str(b))


def test_client_socket_and_metrics_change_hands(begin):
    """Who is connected to tana.sock is told, and served on; who connects meets the new server."""
    port = free_port()
    s = begin(metrics_listen=f"127.0.0.1:{port}", drain_timeout_ms=2000)

    def scrape():
        c = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        c.request("GET", "/metrics")
        text = c.getresponse().read().decode()
        c.close()
        return text

    def connect():
        c = socket.socket(socket.AF_UNIX)
        c.settimeout(PATIENCE)
        c.connect(str(s.run_dir / "tana.sock"))
        return c, msgpack.Unpacker(raw=False)

    def invoke(c, unpacker, n):
        """The answer, and the notices that came before it."""
        c.sendall(msgpack.packb([0, n, "invoke", [{"contract": "id", "query": f"id={n}"}]]))
        notices = []
        while True:
            for m in unpacker:
                if m[0] == 1:
                    assert m[1] == n and m[2] is None, m
                    return json.loads(m[3]["body"]), notices
                notices.append(m[1])
            data = c.recv(65536)
            assert data
            unpacker.feed(data)

    old = connect()
    assert invoke(*old, 1)[0] == {"id": "1"}
    assert "tana_edge_uptime_seconds" in scrape()
    s.upgrade()
    answer, notices = invoke(*old, 2)
    assert answer == {"id": "2"} and notices == ["draining"]
    new = connect()
    assert invoke(*new, 3) == ({"id": "3"}, [])
    assert scrape().rstrip().endswith("# EOF")
    # A client that stays although it was told does not hold the old server up for ever.
    until("the old server has let go of it", lambda: old[0].recv(65536) == b"")
    assert invoke(*new, 4)[0] == {"id": "4"}
    for c, _ in (old, new):
        c.close()


def test_port_of_the_kernels_choice_stays(begin):
    s = begin(listen=["127.0.0.1:{port}", "127.0.0.1:0"])
    chosen = re.findall(r"listening on (127\.0\.0\.1:\d+)", s.log)
    s.upgrade()
    assert re.findall(r"listening on (127\.0\.0\.1:\d+)", s.log) == chosen * 2


def test_server_in_the_background_is_upgraded(begin):
    s = begin(args=["-d"], wait=False, log="{dir}/edge.log")
    assert s.wait() == 0
    log = s.dir / "edge.log"
    for _ in range(2):
        before = s.upgrade()
        until("the old one ends", lambda pid=before: process(pid) is None)
    assert s.get("/id?id=1").status == 200
    # It has the log, and can open it again.
    log.rename(s.dir / "edge.log.1")
    os.kill(s.pid, signal.SIGUSR1)
    until("there is a new log", log.exists)
    until("it is used", lambda: s.get("/id?id=2") and "id=2" in log.read_text() or "request" in log.read_text())
    assert os.readlink(f"/proc/{s.pid}/fd/2") == str(log)


@pytest.mark.skipif(os.getuid() != 0, reason="not root: the other tests are an ordinary user's already")
def test_ordinary_users_server_is_upgraded(begin):
    s = begin(wait=False)
    s.broken = True
    s.proc.kill()
    s.proc.wait()
    until("all of it is gone", lambda: not s.survivors())
    shutil.rmtree(s.run_dir, ignore_errors=True)
    for p in [s.dir, *s.dir.rglob("*")]:
        os.chown(p, 65534, 65534, follow_symlinks=False)
    with open(s.log_path, "ab") as log:
        s.proc = subprocess.Popen(s.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=s.dir,
                                  env=s.env, user=65534, group=65534, extra_groups=[])
    s.wait_serving()
    s.upgrade()
    s.proc.wait(PATIENCE)
    assert s.get("/id?id=1").status == 200
    assert process(s.pid) and os.stat(f"/proc/{s.pid}").st_uid == 65534
    s.family()
    s.ctl("stop")


# -- what fails ----------------------------------------------------------------------------

def refused(s, *words):
    """The upgrade fails with these words, and all is as it was."""
    before = s.pid
    with Counted(s.http_port, connections=3) as load:
        more(load, 20)
        s.family()
        done = s.ctl("upgrade", check=False)
        assert done.returncode == 1, done
        for w in words:
            assert w in done.stderr, done.stderr
        more(load, 20)
    assert load.errors == []
    assert s.pid == before and process(before)
    assert not (s.run_dir / "tana-edge.pid.next").exists()
    assert s.status()["state"] == "serving"
    assert [p.pid for p in s.family() if p.ppid == before and "--front" in p.argv] == [s.front_pid()]


def test_upgrade_that_fails_leaves_the_old_one_as_it_was(begin):
    s = begin(config="server_timing = off\n", upgrade_timeout_ms=60000)
    program = s.programs / "tana-edge"
    s.replace(mode=0o755)
    refused(s, f"cannot run {program}", "No such file")
    s.replace("#!/bin/sh\nexit 0\n", mode=0o644)
    refused(s, f"cannot run {program}", "Permission denied")
    s.replace("no program\n")
    refused(s, f"cannot run {program}", "Exec format error")
    s.replace("#!/bin/sh\nexit 7\n")
    refused(s, "ended before it was ready", "exit status 7")
    s.replace("#!/bin/sh\nkill -SEGV $$\n")
    refused(s, "ended before it was ready", "signal 11")
    s.replace(BUILD / "tana-edge")
    s.config_path.write_text("server_timing = off\nno_such_option = 1\n")
    refused(s, f"{s.config_path}:2", "no_such_option")
    s.config_path.write_text(f"server_timing = off\nworker_program = {s.dir}/none\n")
    refused(s, f"{s.dir}/none")
    s.config_path.write_text("server_timing = on\n")
    s.upgrade()				# and then it goes
    assert s.get("/id?id=1").headers["server-timing"]


def test_another_run_dir_and_a_port_in_use_are_named(begin):
    s = begin(config="")
    s.command[:] = [*s.command]
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        s.replace(f"#!/bin/sh\nexec {BUILD}/tana-edge \"$@\" -o listen=127.0.0.1:{port}\n")
        refused(s, f"127.0.0.1:{port}", "in use")
    s.replace(f"#!/bin/sh\nexec {BUILD}/tana-edge \"$@\" -o run_dir={s.dir}/other\n")
    refused(s, "run_dir", "restart")


def test_new_one_that_is_not_ready_in_time_is_killed(begin):
    s = begin(upgrade_timeout_ms=500)
    s.replace("#!/bin/sh\nexec sleep 1000\n")
    refused(s, "not ready in time")
    assert not [p for p in descendants(s.pid) if "sleep" in p.argv]


def test_second_upgrade_meanwhile_is_refused(begin):
    s = begin(upgrade_timeout_ms=PATIENCE * 1000)
    s.replace("#!/bin/sh\nexec sleep 1000\n")
    first = subprocess.Popen([BUILD / "tana-ctl", "-s", s.run_dir / "control.sock", "upgrade"],
                             stderr=subprocess.PIPE, text=True)
    sleeper = until("it runs", lambda: [p for p in descendants(s.pid) if "sleep" in p.argv])[0]
    second = s.ctl("upgrade", check=False)
    assert second.returncode == 1 and "under way already" in second.stderr
    os.kill(s.pid, signal.SIGUSR2)
    s.wait_log("refused", "under way already")
    assert s.get("/id?id=1").status == 200
    os.kill(sleeper.pid, signal.SIGKILL)
    assert first.wait(PATIENCE) == 1
    assert first.stderr.read()
    first.stderr.close()
    s.replace(BUILD / "tana-edge")
    s.upgrade()


def test_stop_in_the_midst_of_an_upgrade_ends_both(begin):
    s = begin(upgrade_timeout_ms=PATIENCE * 1000)
    s.replace("#!/bin/sh\nexec sleep 1000\n")
    os.kill(s.pid, signal.SIGUSR2)
    sleeper = until("it runs", lambda: [p for p in descendants(s.pid) if "sleep" in p.argv])[0]
    s.family()
    os.kill(s.pid, signal.SIGTERM)
    assert s.wait() == 0
    assert not alive(sleeper)
    assert not (s.run_dir / "tana-edge.pid").exists()


def test_death_of_the_old_one_in_the_midst_lets_the_new_one_take_over(begin):
    s = begin(upgrade_timeout_ms=PATIENCE * 1000)
    s.broken = True
    s.replace(f"#!/bin/sh\nwhile [ ! -e {s.dir}/go ]; do sleep 0.05; done\nexec {BUILD}/tana-edge \"$@\"\n")
    os.kill(s.pid, signal.SIGUSR2)
    new = until("it runs", lambda: [p for p in descendants(s.pid) if "/bin/sh" in p.argv])[0]
    s.family()
    s.proc.kill()
    s.proc.wait()
    (s.dir / "go").touch()
    until("the new one serves", lambda: s.pid == new.pid)
    assert s.get("/id?id=1").json() == {"id": "1"}
    assert s.status()["pid"] == new.pid
    s.family()
    s.ctl("stop")
    until("it has ended", lambda: not alive(new))
    assert not (s.run_dir / "tana-edge.pid").exists()


def test_death_of_the_new_one_while_it_warms_up_changes_nothing(begin):
    s = begin()
    before = s.pid
    many = 90 if SANITIZED else 600		# which takes longer than it has
    s.replace(f"#!/bin/sh\n(sleep 0.15; kill -KILL $$) &\n"
              f"exec {BUILD}/tana-edge \"$@\" -o workers_min={many} -o workers_max={many}\n")
    with Counted(s.http_port, connections=3) as load:
        more(load, 20)
        done = s.ctl("upgrade", check=False)
        more(load, 20)
    assert load.errors == []
    assert done.returncode == 1 and "signal 9" in done.stderr
    assert s.pid == before
    s.replace(BUILD / "tana-edge")
    s.upgrade()


# A program that speaks as the new server does; then it does what the test says.
SPEAKS = """#!/usr/bin/python3
import os, socket, struct, time
words = os.environ["TANA_INHERIT"].split()
assert int(words[0]) == os.getpid() and words[1:4] == ["channel", "pidfile", "lock"], words
s = socket.socket(fileno=3)
s.setblocking(True)
READY, TAKE, TAKEN, FAILED, STOP = 1, 2, 3, 4, 5
def say(what, text=b""):
    s.send(struct.pack("=II1000s", 0x74757031, what, text))
def hear(what):
    assert struct.unpack("=II1000s", s.recv(2000))[:2] == (0x74757031, what)
"""


@pytest.mark.parametrize("acts,words", [
    ("say(TAKEN); time.sleep(1000)", ["order of messages"]),
    ("say(READY); hear(TAKE); say(READY); time.sleep(1000)", ["order of messages"]),
    ("say(READY); hear(TAKE); time.sleep(1000)", ["did not take over"]),
    ("say(READY); hear(TAKE); os._exit(9)", ["exit status 9"]),
    ("say(FAILED, b'no \\x1b[1m luck' + b'x' * 900); os._exit(1)", ["no ", " luck", "xxx"]),
    ("s.send(b'garbage'); time.sleep(1000)", ["not ready in time"]),
    ("s.close(); os.close(4); time.sleep(1000)", ["not ready in time"]),
    # It has written the pid file, and dies: the file is the old one's again.
    ("say(READY); hear(TAKE); os.write(4, b'%d\\n' % os.getpid()); os.rename(RUN + '.next', RUN); os._exit(9)",
     ["exit status 9"]),
], ids=["taken-unasked", "ready-twice", "hangs-at-last", "dies-at-last", "says-why", "garbage", "closes", "dies-as-holder"])
def test_new_one_that_misbehaves_is_no_harm(begin, acts, words):
    s = begin(upgrade_timeout_ms=2000)
    s.replace(SPEAKS + f"RUN = '{s.run_dir}/tana-edge.pid'\n{acts}\n")
    refused(s, *words)
    second = subprocess.run([BUILD / "tana-edge", *s.command[1:]], capture_output=True, text=True,
                            check=False, timeout=PATIENCE)
    assert second.returncode == 4 and str(s.pid) in second.stderr		# it still holds the lock
    s.replace(BUILD / "tana-edge")
    s.upgrade()


def test_one_server_serves_whenever_the_old_one_dies(begin):
    s = begin()
    s.broken = True
    for delay in (0, 0.02, 0.05, 0.1, 0.2, 0.4):
        before = s.pid
        os.kill(before, signal.SIGUSR2)
        until("the new one was started", lambda b=before: s.pid != b or
              [p for p in descendants(b) if p.ppid == b and "--front" not in p.argv and "--zygote" not in p.argv])
        s.family()
        time.sleep(delay)
        if s.pid == before:
            os.kill(before, signal.SIGKILL)
        if before == s.proc.pid:
            s.proc.wait(PATIENCE)
        until("another has taken over", lambda b=before: s.pid != b)
        s.family()
        assert s.get("/id?id=1").json() == {"id": "1"}
        assert s.status()["pid"] == s.pid
    s.ctl("stop")
    assert not (s.run_dir / "tana-edge.pid").exists()


def test_old_one_serves_whenever_the_new_one_dies(begin):
    s = begin()
    for delay in (0, 0.01, 0.02, 0.04, 0.06, 0.08):
        before = s.pid
        asked = subprocess.Popen([BUILD / "tana-ctl", "-s", s.run_dir / "control.sock", "upgrade"],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        new = until("the new one was started", lambda b=before: [p for p in descendants(b) if p.ppid == b and
                    "--front" not in p.argv and "--zygote" not in p.argv and s.pid == b])[0]
        s.family()
        time.sleep(delay)
        if s.pid != before:		# too late: it is the server
            assert asked.wait(PATIENCE) == 0
            asked.stderr.close()
            break
        os.kill(new.pid, signal.SIGKILL)
        assert asked.wait(PATIENCE) == 1 and "signal 9" in asked.stderr.read()
        asked.stderr.close()
        assert s.get("/id?id=1").json() == {"id": "1"}
        assert s.pid == before == s.status()["pid"]


# -- systemd --------------------------------------------------------------------------------

ACTIVATOR = """
import os, sys
n, names = int(sys.argv[1]), sys.argv[2]
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(n), LISTEN_FDNAMES=names)
os.execv(sys.argv[3], sys.argv[3:])
"""


def activated(s, sockets, names):
    """Start the server's command anew, with these from descriptor 3 on, as systemd does."""
    fds = [k.detach() for k in sockets]
    high = [os.dup(fd) for fd in fds]

    def arrange():
        up = [os.dup2(fd, 200 + i) for i, fd in enumerate(high)]
        for i, fd in enumerate(up):
            os.dup2(fd, 3 + i)
    with open(s.log_path, "ab") as log:
        s.proc = subprocess.Popen(["/usr/bin/python3", "-c", ACTIVATOR, str(len(fds)), names, *s.command],
                                  stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=s.dir, env=s.env,
                                  preexec_fn=arrange, close_fds=False)
    for fd in [*fds, *high]:
        os.close(fd)


def test_sockets_of_systemd_are_used_and_kept_through_an_upgrade(begin):
    s = begin(listen=["127.0.0.1:{port}", "unix:{dir}/web.sock"])
    assert s.stop() == 0
    path = s.dir / "web.sock"
    tcp = socket.create_server(("127.0.0.1", s.http_port), backlog=100)
    web = socket.socket(socket.AF_UNIX)
    web.bind(str(path))
    path.chmod(0o666)
    web.listen(10)
    inode = path.stat().st_ino
    # It waits in the backlog before there is a server.
    early = socket.create_connection(("127.0.0.1", s.http_port), PATIENCE)
    early.sendall(b"GET /id?id=early HTTP/1.0\r\n\r\n")
    activated(s, [tcp, web], "tcp:web")
    assert b'{"id":"early"}' in early.makefile("rb").read()
    early.close()
    s.wait_serving()
    s.upgrade()
    assert s.get("/id?id=1").status == 200
    s.family()
    s.ctl("stop")
    assert path.stat().st_ino == inode		# systemd's: it stays


def test_socket_of_systemd_that_is_not_configured_is_named(begin):
    s = begin()
    assert s.stop() == 0
    tcp = socket.create_server(("127.0.0.1", s.http_port))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    activated(s, [tcp, socket.create_server(("127.0.0.1", port))], "web:admin")
    assert s.wait() == 3
    assert f"127.0.0.1:{port} (admin)" in s.log


def test_systemd_is_told_of_start_reload_upgrade_and_end(begin, tmp_path):
    name = f"\0tana-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as n:
        n.bind(name)
        n.settimeout(PATIENCE)

        def told(word):
            for _ in range(20):
                message = dict(line.split("=", 1) for line in n.recv(4096).decode().splitlines())
                if word in message:
                    return message
            raise AssertionError(f"never told {word}")
        s = begin(config="", env={"NOTIFY_SOCKET": "@" + name[1:]})
        m = told("READY")
        assert m["READY"] == "1" and m["MAINPID"] == str(s.pid) and m["STATUS"]
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        s.ctl("reload")
        m = told("RELOADING")
        assert before <= int(m["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert told("READY")["READY"] == "1"
        s.config_path.write_text("nonsense\n")
        assert s.ctl("reload", check=False).returncode == 1
        assert told("RELOADING") and told("READY")
        s.config_path.write_text("")
        s.upgrade()
        assert told("MAINPID")["MAINPID"] == str(s.pid)
        s.family()
        s.ctl("stop")
        assert told("STOPPING")["STOPPING"] == "1"
