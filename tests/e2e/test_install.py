"""What `make install` puts where, and that it does what it is for: the init script with the exit
codes of the Linux Standard Base, logrotate's snippet, systemd's units."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import BUILD, PATIENCE, SOURCE, free_port, process, until

TARGETS = ["install-data-local", "install-nodist_systemdsystemunitDATA", "install-dist_systemdsystemunitDATA",
           "install-sbinPROGRAMS", "install-binPROGRAMS", "install-pkglibexecPROGRAMS"]


def make(*args):
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "DESTDIR")}
    done = subprocess.run(["make", "-C", str(BUILD), *map(str, args)], capture_output=True, text=True, env=env,
                          timeout=5 * PATIENCE, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A scratch DESTDIR; where the files are in it."""
    root = tmp_path_factory.mktemp("dest")
    for p in (root, *root.parents):		# other users' processes must come through
        if p.stat().st_uid == os.getuid() and p != Path("/"):
            p.chmod(p.stat().st_mode | 0o055)
    make(*TARGETS, f"DESTDIR={root}")
    found = {str(p.relative_to(root)): p for p in root.rglob("*") if p.is_file()}

    class Tree:
        path = root

        @staticmethod
        def file(end):
            hits = [p for name, p in found.items() if ("/" + name).endswith(end)]
            assert len(hits) == 1, (end, sorted(found))
            return hits[0]
    return Tree


class Init:
    def __init__(self, tree, where):
        self.tree, self.dir = tree, where
        self.run_dir = where / "run/tana-edge"
        self.log = where / "log"
        self.port = free_port()
        self.conf = where / "edge.conf"
        self.good = f'''listen = 127.0.0.1:{self.port}
contracts = "{where}/lib/state/contracts"
run_dir = "{self.run_dir}"
state_dir = "{where}/lib/state"
log = "{self.log}"
worker_program = "{tree.file('/tana-worker')}"
workers_min = 1
workers_standby = 0
'''
        self.conf.write_text(self.good)
        self.defaults = where / "defaults"
        self.settings()

    def settings(self, **more):
        values = {"DAEMON": self.tree.file("sbin/tana-edge"), "CTL": self.tree.file("bin/tana-ctl"),
                  "CONFIG": self.conf, "STOP_SECONDS": PATIENCE, **more}
        self.defaults.write_text("".join(f"{k}='{v}'\n" for k, v in values.items()))

    def __call__(self, *action, code=0):
        done = subprocess.run([self.tree.file("init.d/tana-edge"), *action], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=2 * PATIENCE, check=False,
                              env=dict(os.environ, TANA_EDGE_DEFAULTS=str(self.defaults)))
        assert done.returncode == code, (action, done)
        return done

    @property
    def pid(self):
        return int((self.run_dir / "tana-edge.pid").read_text())


@pytest.fixture
def init(tree, tmp_path):
    tmp_path.chmod(0o755)
    i = Init(tree, tmp_path)
    yield i
    i.conf.write_text(i.good)
    i.settings()
    i("stop")


def test_files_are_where_they_belong(tree):
    assert os.access(tree.file("init.d/tana-edge"), os.X_OK)
    for end in ("/tana-edge.service", "/tana-edge.socket", "/tmpfiles.d/tana-edge.conf", "/logrotate.d/tana-edge",
                "/default/tana-edge", "/tana-edge/tana-edge.conf"):
        p = tree.file(end)
        assert p.stat().st_mode & 0o777 == 0o644
        assert not re.search(r"@[A-Z]+@", p.read_text()), p
    assert not re.search(r"@[A-Z]+@", tree.file("init.d/tana-edge").read_text())


def test_configuration_that_is_there_stays(tmp_path):
    make("install-data-local", f"DESTDIR={tmp_path}")
    confs = [p for p in tmp_path.rglob("*") if p.is_file() and p.name in ("tana-edge", "tana-edge.conf")]
    mine = [p for p in confs if "tmpfiles.d" not in p.parts and "init.d" not in p.parts]
    assert len(mine) == 3
    for p in mine:
        p.write_text("# mine\n")
    make("install-data-local", f"DESTDIR={tmp_path}")
    assert all(p.read_text() == "# mine\n" for p in mine)
    make("uninstall-hook", f"DESTDIR={tmp_path}")
    assert sorted(p for p in tmp_path.rglob("*") if p.is_file()) == sorted(mine)


def test_headers_of_the_init_script_are_the_standards(tree):
    text = tree.file("init.d/tana-edge").read_text()
    block = text.partition("### BEGIN INIT INFO\n")[2].partition("### END INIT INFO")[0]
    keys = re.findall(r"^# ([A-Z][A-Za-z-]+):", block, re.MULTILINE)
    for key in ("Provides", "Required-Start", "Required-Stop", "Default-Start", "Default-Stop", "Short-Description",
                "Description"):
        assert keys.count(key) == 1
    subprocess.run(["sh", "-n", tree.file("init.d/tana-edge")], check=True)


def test_each_action_and_its_exit_code(init):
    init("status", code=3)
    init("reload", code=7)
    init("force-reload", code=7)
    init("upgrade", code=7)
    init("try-restart")
    init("stop")
    init(code=2)
    init("nonsense", code=2)
    assert not init.run_dir.exists()
    init("start")			# and makes what there was not
    first = init.pid
    init("start")
    assert init.pid == first
    if os.getuid() == 0:
        for name in ("lib/state", "lib/state/contracts"):
            st = (init.dir / name).stat()
            assert (st.st_uid, st.st_mode & 0o777) == (0, 0o755)
    init("status")
    init("reload")
    init("force-reload")
    out = init("upgrade").stdout
    second = init.pid
    assert second != first and f"pid {second} serves now" in out
    init("status")
    init("restart")
    third = init.pid
    assert third != second and process(second) is None
    init("try-restart")
    assert init.pid != third
    # A file that is broken takes nothing down.
    serving = init.pid
    init.conf.write_text(init.good + "workers_max = nonsense\n")
    for action in ("start", "restart", "try-restart", "reload", "upgrade"):
        done = init(action, code=6)
        assert f"{init.conf}:9" in done.stderr
    init("status", code=4)
    assert init.pid == serving and process(serving)
    init.conf.write_text(init.good)
    # What it cannot do: the program is not there.
    init.settings(DAEMON="/nonexistent/tana-edge")
    init("start", code=5)
    init("status", code=4)
    init.settings()
    os.kill(serving, 9)
    until("it is dead", lambda: process(serving) is None)
    init("status", code=1)
    init("start")
    init("stop")
    init("status", code=3)


def test_start_that_fails_says_1(init):
    init.conf.write_text(init.good + 'worker_program = "/nonexistent/worker"\n')
    assert "/nonexistent/worker" in init("start", code=1).stderr
    init("status", code=3)


def test_server_that_hangs_is_stopped_all_the_same(init):
    init.settings(STOP_SECONDS=1)
    init("start")
    pid = init.pid
    os.kill(pid, 19)
    init("stop")
    assert process(pid) is None


@pytest.mark.skipif(shutil.which("logrotate", path="/usr/sbin:/usr/bin:/sbin:/bin") is None,
                    reason="no logrotate; test_lifecycle.py sends the signal alone")
def test_logrotate_gives_the_server_a_new_log(init):
    init("start")
    text = init.tree.file("logrotate.d/tana-edge").read_text()
    snippet = init.dir / "rotate"
    snippet.write_text(text.replace("/var/log/tana-edge.log", str(init.log))
                       .replace("/run/tana-edge/", f"{init.run_dir}/"))
    snippet.chmod(0o644)
    old = init.log.stat().st_ino
    program = shutil.which("logrotate", path="/usr/sbin:/usr/bin:/sbin:/bin")
    done = subprocess.run([program, "-f", "-s", init.dir / "state", snippet], capture_output=True, text=True,
                          check=False, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert (init.dir / "log.1").stat().st_ino == old
    until("there is a new log", lambda: init.log.exists() and "log opened again" in init.log.read_text())


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
def test_systemd_takes_the_units(tree, tmp_path):
    # What they start is in the scratch tree only.
    text = tree.file("/tana-edge.service").read_text()
    service = tmp_path / "tana-edge.service"
    service.write_text(re.sub(r"=(/\S*/tana-(edge|ctl))", f"={tree.path}\\1", text))
    shutil.copy(tree.file("/tana-edge.socket"), tmp_path)
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", service,
                           tmp_path / "tana-edge.socket"], capture_output=True, text=True, timeout=PATIENCE, check=False)
    complaints = [line for line in done.stderr.splitlines() if "tana-edge" in line]
    assert complaints == [] and done.returncode == 0, done.stderr


def test_socket_unit_listens_where_the_configuration_says():
    listen = re.search(r"^listen = \{ (\S+) \}", (SOURCE / "supervisor/tana-edge.conf").read_text(), re.MULTILINE)
    assert re.findall(r"^ListenStream=(\S+)", (SOURCE / "supervisor/tana-edge.socket").read_text(),
                      re.MULTILINE) == [listen[1]]
