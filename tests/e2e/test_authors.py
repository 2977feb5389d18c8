"""What authors do with tana besides compiling: versions, rollback, remove, several
contracts at once, and what each says when it cannot."""

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from conftest import alive, descendants, free_port, process, until
from test_toolchain import ESCAPES, TANA, in_namespace, leftovers, served, tana, versions, write


@pytest.fixture
def contracts(tmp_path):
    (tmp_path / "contracts").mkdir()
    return tmp_path / "contracts"


class Store:
    """One contract that is deployed again and again."""

    def __init__(self, contracts, source, name="c"):
        self.contracts, self.source, self.name = contracts, source, name

    def tana(self, command, *args):
        return tana(command, self.name, *args, "--contracts", self.contracts)

    def deploy(self, text, *args):
        write(self.source, {f"{self.name}.ts": f"export const get = () => '{text}';"})
        r = tana("deploy", self.source / f"{self.name}.ts", "--contracts", self.contracts, *args)
        assert (r.returncode, r.stderr) == (0, "")
        return self.current()

    def current(self):
        return Path(os.readlink(self.contracts / self.name)).name

    def rollback(self, *args):
        r = self.tana("rollback", *args)
        assert (r.returncode, r.stderr) == (0, "")
        assert self.current() in r.stdout
        return self.current()

    def list(self):
        return json.loads(self.tana("versions", "--json").stdout)


@pytest.fixture
def store(contracts, tmp_path):
    return Store(contracts, tmp_path)


# -- versions, rollback, remove ------------------------------------------------------

def test_versions_are_listed_newest_first_with_the_present_one_marked(store):
    a, b = store.deploy("a"), store.deploy("b")
    assert [(v["version"], v["current"]) for v in store.list()] == [(b, True), (a, False)]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", v["deployed"]) for v in store.list())
    text = store.tana("versions").stdout
    assert re.fullmatch(rf"{b} +\S+Z  current\n{a} +\S+Z\n", text)


def test_rollback_goes_to_what_served_before_and_further(store):
    a, b, c = (store.deploy(t) for t in "abc")
    assert store.rollback() == b
    assert store.rollback() == a
    r = store.tana("rollback")
    assert r.returncode == 1 and "no version served before" in r.stderr
    assert store.rollback(c) == c
    # c was bad, a good; a new one that is bad too leads back to a, not to c.
    assert store.rollback(a) == a
    store.deploy("d")
    assert store.rollback() == a
    assert "'a'" in served(store.contracts, "c")["contract.js"].replace('"', "'")


def test_rollback_takes_a_version_or_its_beginning_and_names_what_there_is(store):
    a, b = store.deploy("a"), store.deploy("b")
    assert store.rollback(a[:6]) == a
    assert "unchanged" in store.tana("rollback", a).stdout
    for wanted in ("0000000000000000", "../../c", b[:3], "", a + ".1"):
        r = store.tana("rollback", wanted)
        if wanted:
            assert r.returncode == 1 and f'there is no version "{wanted}"' in r.stderr
            assert f"{a} (current)" in r.stderr and b in r.stderr and r.stderr.count("\n") == 1
        else:
            assert r.returncode == 2
    assert store.current() == a


def test_rollback_refuses_a_version_that_was_edited(store):
    a = store.deploy("a")
    b = store.deploy("b")
    (store.contracts / ".versions/c" / a / "contract.js").write_text("exports.get = function () { return 'edited'; };")
    r = store.tana("rollback")
    assert r.returncode == 1 and f"version {a} was changed after it was deployed" in r.stderr
    assert store.current() == b


def test_history_heals_after_a_deployment_was_killed_before_the_link_moved(store):
    a, b, c = (store.deploy(t) for t in "abc")
    history = store.contracts / ".versions/c/.history"
    assert history.read_text().split() == [a, b, c]
    # As if killed between the two: in a deployment of a again, and in a rollback to a.
    for text in ([a, b, c, a], [a]):
        history.write_text("".join(f"{v}\n" for v in text))
        assert store.rollback() == (b if text != [a] else a)
        store.rollback(c)
    history.write_bytes(b"\xff\n../../etc\n\n" + b.encode() + b"\n" + c.encode())
    assert store.rollback() == b
    history.unlink()
    store.rollback(c)
    history.unlink()
    assert store.rollback() == b


def test_removed_contract_is_404_until_it_is_deployed_again(start, tmp_path):
    server = start(contracts={}, skip_transpile=True)
    store = Store(server.contracts, tmp_path)
    reload = ("--reload", server.run_dir / "control.sock")
    a, b = store.deploy("a", *reload), store.deploy("b", *reload)
    assert server.get("/c").json() == "b"
    assert store.tana("rollback", *reload).returncode == 0
    assert server.get("/c").json() == "a"
    r = store.tana("remove", "--keep-versions", *reload)
    assert (r.returncode, r.stdout, r.stderr) == (0, "c: removed\n", "")
    assert server.get("/c").status == 404
    assert versions(server.contracts, "c") == {a, b}
    assert [v["current"] for v in store.list()] == [False, False]
    # What served last is what comes back.
    assert store.rollback(*reload) == a
    assert server.get("/c").json() == "a"
    r = store.tana("remove")
    assert (r.returncode, r.stderr) == (0, "")
    until("the server has seen it", lambda: server.get("/c").status == 404)
    assert versions(server.contracts, "c") == set() and leftovers(server.contracts) == []
    store.deploy("again", *reload)
    assert server.get("/c").json() == "again"
    assert server.log_lines("is gone")


def test_a_server_follows_no_link_that_deploy_did_not_make(start, tmp_path):
    server = start(contracts={"victim": {"get.js": "exports.get = function () { return 'secret'; };"}})
    (server.contracts / "thief").symlink_to("victim")
    a = server.get("/thief")
    assert (a.status, a.code) == (500, "contract_unusable")
    assert server.wait_log("a symbolic link that tana deploy did not make", "thief")
    outside = write(tmp_path / "outside", {"get.js": "exports.get = function () { return 'secret'; };"})
    (server.contracts / "other").symlink_to(outside)
    assert server.get("/other").status == 500


@pytest.mark.parametrize("command", ["versions", "rollback", "remove"])
def test_what_is_not_deployed_is_said_in_one_line(contracts, tmp_path, command):
    write(contracts / "by-hand", {"get.js": "exports.get = function () { return 1; };"})
    (contracts / "elsewhere").symlink_to("by-hand")
    for name, words in (("nope", f"there is no contract nope in {contracts}"), ("A", '"A" is no identifier of a contract'),
                        ("..", '".." is no identifier'), ("by-hand", f"{contracts}/by-hand: error: was not deployed"),
                        ("elsewhere", "was not deployed")):
        r = tana(command, name, "--contracts", contracts)
        shown = r.stderr.replace(os.path.relpath(contracts), str(contracts))
        assert (r.returncode, r.stdout) == (1, "") and words in shown and r.stderr.count("\n") == 1, r.stderr
    r = tana(command, "nope", "--contracts", tmp_path / "none")
    assert r.returncode == 1 and "none: error: no such directory" in r.stderr
    assert sorted(os.listdir(contracts)) == ["by-hand", "elsewhere"]


def test_rollbacks_and_deployments_of_one_contract_wait_for_each_other(store):
    a = store.deploy("a")
    b = store.deploy("b")
    lock = subprocess.Popen(["flock", "-x", store.contracts / ".versions/c/.lock", "cat"], stdin=subprocess.PIPE)
    try:
        until("the lock is held", lambda: subprocess.run(["flock", "-xn", store.contracts / ".versions/c/.lock", "true"]).returncode == 1)
        waiting = subprocess.Popen([TANA, "rollback", "c", "--contracts", store.contracts], stdout=subprocess.DEVNULL)
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(1.5)
        assert store.current() == b
    finally:
        lock.stdin.close()
        lock.wait()
    assert waiting.wait(60) == 0 and store.current() == a


@pytest.mark.parametrize("sig", ["INT", "TERM", "HUP"])
def test_a_signal_leaves_nothing_of_a_deployment(store, sig):
    a = store.deploy("a")
    lock = subprocess.Popen(["flock", "-x", store.contracts / ".versions/c/.lock", "cat"], stdin=subprocess.PIPE)
    try:
        write(store.source, {"c.ts": "export const get = () => 'new';"})
        p = subprocess.Popen([TANA, "deploy", store.source / "c.ts", "--contracts", store.contracts])
        until("it is staged", lambda: list((store.contracts / ".versions/c").glob(".new-*/contract.js.lines")))
        p.send_signal(getattr(signal, f"SIG{sig}"))
        assert p.wait(60) == 128 + {"INT": 2, "TERM": 15, "HUP": 1}[sig]
    finally:
        lock.stdin.close()
        lock.wait()
    assert leftovers(store.contracts) == [] and store.current() == a
    assert versions(store.contracts, "c") == {a}


# -- several at once --------------------------------------------------------------------

def test_several_are_compiled_first_and_each_that_compiled_is_switched(contracts, tmp_path):
    write(tmp_path, {"shop/get.ts": "export const Get = () => 1;", "bad/get.ts": "export const Get = (;", "one.ts": "export const get = () => 2;",
                     "Upper.ts": "export const get = () => 3;"})
    r = tana("deploy", "shop", "bad", "one.ts", "nope", "Upper.ts", "--contracts", contracts, cwd=tmp_path)
    assert r.returncode == 1
    lines = r.stdout.splitlines()
    assert lines[:3] == ["bad: failed, nothing was changed", "nope: failed, nothing was changed", "Upper: failed, nothing was changed"]
    assert re.fullmatch(r"shop: version [0-9a-f]{16} \(get\)", lines[3]) and re.fullmatch(r"one: version [0-9a-f]{16} \(get\)", lines[4])
    assert len(lines) == 5
    assert "bad/get.ts:1:" in r.stderr and "nope: ENOENT" in r.stderr and '"Upper" is no identifier' in r.stderr
    assert sorted(p.name for p in contracts.iterdir()) == [".versions", "one", "shop"]
    assert leftovers(contracts) == []
    r = tana("deploy", "shop", "one.ts", "--contracts", contracts, cwd=tmp_path)
    assert r.returncode == 0 and all("unchanged" in line for line in r.stdout.splitlines())


def test_several_with_one_name_are_refused(contracts, tmp_path):
    write(tmp_path, {"a/shop/get.ts": "export const Get = () => 1;", "b/shop/get.ts": "export const Get = () => 2;"})
    r = tana("deploy", "a/shop", "b/shop", "--contracts", contracts, cwd=tmp_path)
    assert r.returncode == 1 and "b/shop: error: shop is deployed from another path already" in r.stderr
    r = tana("deploy", "a/shop", "b/shop", "--id", "x", "--contracts", contracts, cwd=tmp_path)
    assert r.returncode == 1 and "--id is for one path" in r.stderr


# -- the environment ----------------------------------------------------------------------

def in_mount(script):
    r = in_namespace(script)
    if r is None:
        pytest.skip("no mounts of one's own here")
    return r


def test_a_full_disk_leaves_no_half_version_wherever_it_strikes(contracts, tmp_path):
    """Room for less and less of the new version, down to none: also for the link and the history."""
    write(tmp_path, {"old/get.ts": "export const Get = () => 'old';", "new/get.ts": "export const Get = () => 'new';"})
    r = in_mount(f"""
        mount -t tmpfs -o size=64m none {contracts}
        {TANA} deploy {tmp_path}/old --id c --contracts {contracts} >/dev/null
        used=$(find {contracts} | wc -l)
        for more in 0 1 2 3 4 5 6 7 8; do
            mount -o remount,nr_inodes=$((used + 1 + more)) {contracts}
            if {TANA} deploy {tmp_path}/new --id c --contracts {contracts} >/dev/null; then echo "deployed"; break; fi
            echo "$more $(find {contracts} -name '.new-*' -o -name '.c.*' | wc -l) $(find {contracts} | wc -l) $used $(grep -c old {contracts}/c/get.js)"
        done""")
    assert r.returncode == 0, r.stderr
    *failed, last = r.stdout.splitlines()
    assert last == "deployed" and len(failed) >= 3
    for line in failed:
        _, half, now, before, serves_old = line.split()
        assert (half, now, serves_old) == ("0", before, "1"), r.stdout
    for line in r.stderr.splitlines():
        assert "ENOSPC" in line and str(contracts) in line


def test_a_read_only_directory_is_named_by_every_command(contracts, tmp_path):
    write(tmp_path, {"c.ts": "export const get = () => 1;", "d.ts": "export const get = () => 2;"})
    r = in_mount(f"""
        mount -t tmpfs none {contracts}
        {TANA} deploy {tmp_path}/c.ts --contracts {contracts} >/dev/null
        {TANA} deploy {tmp_path}/d.ts --id c --contracts {contracts} >/dev/null
        mount -o remount,ro {contracts}
        for what in "rollback c" "remove c" "deploy {tmp_path}/c.ts"; do
            {TANA} $what --contracts {contracts} || echo "status $?"
        done
        {TANA} versions c --contracts {contracts} | wc -l""")
    assert r.returncode == 0, r.stderr
    assert r.stdout.split("\n") == ["status 1", "status 1", "status 1", "2", ""]
    assert r.stderr.count("\n") == 3
    assert all(str(contracts) in line and re.search("EROFS|[Rr]ead-only file system", line) for line in r.stderr.splitlines()), r.stderr


def test_clients_see_whole_answers_while_versions_go_back_and_forth(start, tmp_path):
    server = start(contracts={}, skip_transpile=True)
    store = Store(server.contracts, tmp_path)
    source = write(tmp_path / "two", {})
    marks = {}
    for mark in ("aaa", "bbb"):
        # Both files and the metadata have the mark: a mixture would show.
        write(source, {"get.ts": f"import {{ helper }} from './h'; export const Get = (r: any) => ['{mark}', helper, r.tana.contract.name];",
                       "h.ts": f"export const helper = '{mark}';", "contract.json": json.dumps({"name": mark}),
                       "post.ts": f"export const Post = () => '{mark}';"})
        r = tana("deploy", source, "--id", "c", "--contracts", server.contracts)
        assert r.returncode == 0, r.stderr
        marks[mark] = store.current()
    stop, answers = threading.Event(), []

    def ask():
        while not stop.is_set():
            answers.append(server.get("/c"))

    clients = [threading.Thread(target=ask) for _ in range(2)]
    for c in clients:
        c.start()
    try:
        for i in range(10):
            version = marks["aaa" if i % 2 == 0 else "bbb"]
            assert store.tana("rollback", version, "--reload", server.run_dir / "control.sock").returncode == 0
            assert server.get("/c").json()[0] == ("aaa" if i % 2 == 0 else "bbb")
    finally:
        stop.set()
        for c in clients:
            c.join()
    assert {a.status for a in answers} == {200}
    assert {tuple(a.json()) for a in answers} == {("aaa",) * 3, ("bbb",) * 3}


SWITCHES = int(os.environ.get("TANA_SWITCHES", "30"))	# each takes half a second


def test_deployments_under_load_are_seen_whole_and_in_their_order(start, tmp_path):
    server = start(contracts={}, skip_transpile=True, workers_max=4, log_level="warn")
    source, stop, wrong, seen = tmp_path / "c", threading.Event(), [], set()
    reached = 0		# the version that serves for certain

    def deploy(n):
        # Three places have the number: a mixture of versions would show.
        write(source, {"get.ts": f"import {{ n }} from './n'; export const Get = (r: any) => [{n}, n, Number(r.tana.contract.name)];",
                       "n.ts": f"export const n = {n};", "contract.json": json.dumps({"name": str(n)})})
        r = tana("deploy", source, "--contracts", server.contracts, "--reload", server.run_dir / "control.sock")
        assert (r.returncode, r.stderr) == (0, "")

    def ask():
        last = 0
        while not stop.is_set():
            least = max(reached, last)
            a = server.get("/c")
            got = a.json() if a.status == 200 else None
            if got is None or len(set(got)) != 1 or got[0] < least:
                wrong.append((least, a))
                return
            last = got[0]
            seen.add(last)
            time.sleep(0.002)		# the compilers need the processor too

    deploy(0)
    clients = [threading.Thread(target=ask) for _ in range(3)]
    for c in clients:
        c.start()
    try:
        for n in range(1, SWITCHES + 1):
            deploy(n)
            reached = n
            assert not wrong
    finally:
        stop.set()
        for c in clients:
            c.join()
    assert wrong == []
    assert len(seen) > SWITCHES * 0.9 and len(versions(server.contracts, "c")) <= SWITCHES + 1
    assert server.get("/c").json() == [SWITCHES] * 3


# -- run ------------------------------------------------------------------------------------

@pytest.fixture
def temp(tmp_path, monkeypatch):
    """Where tana puts what it needs for a moment."""
    d = tmp_path / "t"
    d.mkdir(mode=0o755)
    for p in (d, *d.parents):
        if p.stat().st_uid == os.getuid() and str(p).startswith("/tmp/pytest"):
            p.chmod(p.stat().st_mode | 0o711)	# the private server's users come through
    monkeypatch.setenv("TMPDIR", str(d))
    return d


def ours(temp):
    """The processes of a private server below temp."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and (p := process(int(name))) and any(str(temp) in a for a in p.argv):
            found += [p, *descendants(p.pid)]
    return found


def gone(temp, processes):
    until("its processes are gone", lambda: not [p for p in processes if alive(p)] and not ours(temp))


ECHO = {"get.ts": """
    import { console } from "tana/core";
    import { Response, type Request } from "tana/net";
    export async function Get(req: Request) {
        console.log("asked", { path: req.path });
        console.warn("a\\nb");
        if (req.query.status) return new Response(Number(req.query.status), "text", { "x-it": "y" });
        if (req.query.bytes) return new Response(new Uint8Array([255, 0, 254]));
        if (req.query.throws) throw new Error("secret");
        if (req.query.wait) await new Promise<void>((done) => setTimeout(done, 4500));
        return { path: req.path, query: req.query, it: req.headers.get("x-it"), owner: req.tana.contract.owner };
    }""", "post.ts": "export const Post = (req: any, body: any) => ({ body, type: req.headers.get('content-type') });",
        "contract.json": '{"author": "ann"}'}


def test_run_prints_the_answer_and_logs_apart_and_leaves_nothing(temp, tmp_path):
    source = write(tmp_path / "echo", ECHO)
    r = tana("run", source, "--path", "/a/b?x=1&y=\u00e4 z", "--header", "X-It: that")
    assert (r.returncode, r.stderr) == (0, 'info: asked {"path":"/a/b"}\nwarn: a\nb\n')
    assert json.loads(r.stdout) == {"path": "/a/b", "query": {"x": "1", "y": "\u00e4 z"}, "it": "that", "owner": "ann"}
    r = tana("run", source, "--body", '{"n": 1}')
    assert (r.returncode, json.loads(r.stdout)) == (0, {"body": {"n": 1}, "type": "application/json"})
    r = tana("run", source, "--body", "", "--header", "content-type: text/x")
    assert (r.returncode, json.loads(r.stdout)) == (0, {"body": None, "type": "text/x"})
    assert os.listdir(temp) == [] and ours(temp) == []


def test_run_with_json_gives_status_headers_and_body(temp, tmp_path):
    source = write(tmp_path / "echo", ECHO)
    r = tana("run", source, "--json", "--path", "?status=418")
    got = json.loads(r.stdout)
    assert (r.returncode, got["status"], got["body"], got["headers"]["x-it"]) == (1, 418, "text", "y")
    r = tana("run", source, "--json", "--path", "?status=302")
    assert (r.returncode, json.loads(r.stdout)["status"]) == (0, 302)
    got = json.loads(tana("run", source, "--json", "--path", "?bytes=1").stdout)
    assert "body" not in got and got["bodyBase64"] == "/wD+"
    r = tana("run", source, "--json", "--method", "put")
    assert (r.returncode, json.loads(r.stdout)["headers"]["allow"]) == (1, "GET, HEAD, POST")


def test_run_shows_a_throw_on_standard_error_and_what_the_client_gets_on_standard_output(temp, tmp_path):
    r = tana("run", write(tmp_path / "echo", ECHO), "--path", "?throws=1")
    assert r.returncode == 1 and "contract_error: Error: secret" in r.stderr
    assert "secret" not in r.stdout and json.loads(r.stdout)["error"]["code"] == "contract_error"
    r = tana("run", write(tmp_path / "bad", {"get.ts": "export const Get = () =>\n\t};"}))
    assert (r.returncode, r.stdout) == (1, "") and "get.ts:2:" in r.stderr
    r = tana("run", write(tmp_path / "loads-not", {"get.ts": "export const Get = () => 1;\nthrow new Error('early');"}))
    assert (r.returncode, r.stdout) == (1, "") and "get.ts:2: error: Error: early" in r.stderr
    assert os.listdir(temp) == []


@pytest.mark.parametrize("args, words", [
    (["nope"], "nope: ENOENT"), ([], "PATH is missing"), (["x", "--method", "a b"], "is no method"), (["x", "--header", "none"], "a header is NAME: VALUE"),
    (["x", "--header", "a: b\nc: d"], "a header is NAME: VALUE"), (["x", "--method="], "--method needs a value"), (["x", "--what"], "--what"),
])
def test_run_says_what_is_wrong_with_its_arguments(temp, tmp_path, args, words):
    write(tmp_path, {"x/get.ts": "export const Get = () => 1;"})
    r = tana("run", *args, cwd=tmp_path)
    assert r.returncode == (1 if args == ["nope"] else 2)
    assert words in r.stderr and r.stderr.count("\n") <= 2 and r.stdout == ""
    assert os.listdir(temp) == []


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_to_run_leaves_no_process_and_no_file(temp, tmp_path, sig):
    """SIGKILL leaves the files: nobody is left to remove them."""
    p = subprocess.Popen([TANA, "run", write(tmp_path / "echo", ECHO), "--path", "?wait=1"], stderr=subprocess.PIPE, text=True)
    assert "asked" in p.stderr.readline()
    server = ours(temp)
    assert len(server) > 3
    p.send_signal(sig)
    assert p.wait(60) == (-9 if sig == signal.SIGKILL else 128 + sig)
    p.stderr.close()
    gone(temp, server)
    assert sig == signal.SIGKILL or os.listdir(temp) == []


def test_run_says_why_its_server_does_not_start(temp, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(temp / ("long" * 30)))
    (temp / ("long" * 30)).mkdir()
    r = tana("run", write(tmp_path / "echo", ECHO))
    assert r.returncode == 1 and "too long for a socket" in r.stderr and os.listdir(temp / ("long" * 30)) == []
    monkeypatch.setenv("TMPDIR", str(temp / "none"))
    r = tana("run", tmp_path / "echo")
    assert r.returncode == 1 and "ENOENT" in r.stderr and str(temp / "none") in r.stderr


# -- dev -------------------------------------------------------------------------------------

class Dev:
    """tana dev at work; .said is what it wrote."""

    def __init__(self, path, *args):
        self.port = free_port()
        self.process = subprocess.Popen([TANA, "dev", path, "--port", str(self.port), *args], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.said = ""
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stderr:
            self.said += line

    def wait_for(self, words):
        until(f"it says {words}", lambda: words in self.said or self.process.poll() is not None)
        assert words in self.said, self.said
        said, self.said = self.said, ""
        return said

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as a:
            return json.loads(a.read())

    def end(self, sig=signal.SIGINT):
        self.process.send_signal(sig)
        status = self.process.wait(60)
        self.reader.join()
        self.process.stderr.close()
        return status


def test_dev_serves_each_change_and_the_old_version_while_there_are_errors(temp, tmp_path):
    source = write(tmp_path / "shop", {"get.ts": "import { v } from './lib/v'; import { console } from 'tana/core';\n"
                                                 "export const Get = () => { console.log('v is', v); return v; };", "lib/v.ts": "export const v = 1;"})
    dev = Dev(source)
    try:
        assert f"(get) on http://127.0.0.1:{dev.port}/shop" in dev.wait_for("shop: version")
        assert dev.get("/shop") == 1
        dev.wait_for("GET / 200 ")
        write(source, {"lib/v.ts": "export const v = 2;"})
        dev.wait_for("shop: version")
        assert dev.get("/shop") == 2
        assert "info: v is 2" in dev.wait_for("GET / 200 ")
        write(source, {"lib/v.ts": "export const\n\tv = ;"})
        assert "shop/lib/v.ts:2:6: error: " in dev.wait_for("the version before goes on serving")
        assert dev.get("/shop") == 2
        write(source, {"lib/v.ts": "export const v = 3;", "post.ts": "export const Post = () => 'post';"})
        assert "(get, post)" in dev.wait_for("shop: version")
        assert dev.get("/shop") == 3
        server = ours(temp)
        assert len(server) > 3
    finally:
        status = dev.end()
    assert status == 130
    gone(temp, server)
    assert os.listdir(temp) == []


def test_dev_waits_for_what_does_not_compile_yet(temp, tmp_path):
    write(tmp_path, {"it.ts": "export const get = (;"})
    dev = Dev(tmp_path / "it.ts", "--id", "other")
    try:
        assert "it.ts:1:" in dev.wait_for("other: waiting for a change")
        write(tmp_path, {"it.ts": "export const get = () => 'now';"})
        dev.wait_for("other: version")
        assert dev.get("/other") == "now"
    finally:
        assert dev.end(signal.SIGTERM) == 143
    assert os.listdir(temp) == []


def test_dev_says_that_its_port_is_taken(temp, tmp_path):
    write(tmp_path, {"it.ts": "export const get = () => 1;"})
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        r = tana("dev", tmp_path / "it.ts", "--port", s.getsockname()[1])
    assert r.returncode == 1 and "tana-edge does not start: " in r.stderr and "in use" in r.stderr, r.stderr
    assert r.stderr.count("\n") == 1 and os.listdir(temp) == []
    for args, words in ((["--port", "0"], "--port is a number from 1 to 65535"), (["--port", "70000"], "--port is a number")):
        r = tana("dev", tmp_path / "it.ts", *args)
        assert r.returncode == 2 and words in r.stderr
    r = tana("dev", tmp_path / "none")
    assert r.returncode == 1 and "ENOENT" in r.stderr


# -- stacks --------------------------------------------------------------------------------

THROWS = {"get.ts": """import { Request } from "tana/net";
import { check } from "./lib/check";

interface Order {
    count: number;
}

export async function Get(req: Request) {
    await null;
    const order: Order = { count: Number(req.query.n ?? "0") };
    return check(order.count);
}
""", "lib/check.ts": """class Refused extends Error {
    override name = "Refused";
}

export function check(n: number): number {
    if (n < 1)
        throw new Refused(`only ${n} of (get.js:1)`);
    return n;
}
"""}


def stack_of(server, contract):
    line = server.wait_log("request failed", f"contract={contract}")[0]
    return [f for f in re.findall(r"\((\S+?:[0-9]+)\)", line) if ".ts:" in f]


def test_a_throw_is_logged_with_the_lines_of_its_typescript(start, tmp_path):
    """Deployed, and as the server's own compiler lowers it; the client learns nothing of it."""
    server = start(contracts={"dev": {"get.ts": THROWS["get.ts"].replace("./lib/check", "./check"), "check.ts": THROWS["lib/check.ts"]}})
    r = tana("deploy", write(tmp_path / "shop", THROWS), "--contracts", server.contracts)
    assert (r.returncode, r.stderr) == (0, "")
    version = server.contracts / "shop"
    assert sorted(p.name for p in version.iterdir()) == ["get.js", "get.js.lines", "get.js.map", "src"]
    assert json.loads((version / "get.js.map").read_text())["sources"] == ["get.ts", "lib/check.ts"]
    for contract, check in (("shop", "lib/check.ts"), ("dev", "check.ts")):
        a = server.get(f"/{contract}")
        assert (a.status, a.code) == (500, "contract_error")
        assert ".ts" not in a.text and "Refused" not in a.text and set(a.json()["error"]) == {"code", "message", "requestId"}
        stack = stack_of(server, contract)
        assert stack[0].startswith(f"{check}:") and f"{check}:7" in stack and "get.ts:11" in stack, stack
        line = server.log_lines("request failed", f"contract={contract}")[0]
        assert a.json()["error"]["requestId"] in line and "Refused: only 0" in line
    assert server.get("/shop?n=1").json() == 1


def test_what_throws_while_loaded_is_logged_with_its_typescript_line(start):
    server = start(contracts={"c": {"get.ts": "interface I {}\n\nexport const Get = () => 1;\nconst n: any = null;\nn.x;\n"}})
    a = server.get("/c")
    assert (a.status, a.code) == (500, "contract_unusable") and ".ts" not in a.text
    assert "(get.ts:5)" in server.wait_log("contract not loaded", "contract=c")[0]


@pytest.mark.parametrize("table", ["", "tana-lines 1\ns x\n1 0 1\n1 0 1\n", "\0" * 1000, "tana-lines 1\n" + "s " + "n" * 70000 + "\n", "x" * (5 << 20)],
                         ids=["empty", "not rising", "zeros", "long name", "huge"])
def test_a_spoiled_table_of_lines_costs_the_lines_only(start, table):
    server = start(contracts={"c": {"get.js": "exports.get = function () { throw new Error('it'); };", "get.js.lines": table}})
    assert server.get("/c").status == 500
    assert "(get.js:1)" in server.wait_log("request failed", "contract=c")[0]


def test_a_table_of_lines_that_is_a_link_is_not_followed(start):
    server = start(contracts={"other": {"lines": "tana-lines 1\ns secret\n1 0 1\n", "get.js": ""},
                              "c": {"get.js": "exports.get = function () { throw new Error('it'); };"}})
    (server.contracts / "c/get.js.lines").symlink_to("../other/lines")
    assert server.get("/c").status == 500
    line = server.wait_log("request failed", "contract=c")[0]
    assert "(get.js:1)" in line and "secret" not in line


def test_run_and_init_show_typescript_lines(temp, tmp_path, contracts):
    r = tana("run", write(tmp_path / "shop", THROWS))
    assert r.returncode == 1 and "contract_error: Refused: only 0" in r.stderr
    assert "(lib/check.ts:7)" in r.stderr and "(get.ts:11)" in r.stderr and ".ts" not in r.stdout
    write(tmp_path, {"c.ts": "export const get = () => 1;\n\nexport async function init() {\n    await null;\n    throw new Error('not today');\n}"})
    r = tana("deploy", tmp_path / "c.ts", "--contracts", contracts)
    assert r.returncode == 1 and "init failed, nothing was changed: Error: not today\n" in r.stderr and "(c.ts:5)" in r.stderr


# -- new -------------------------------------------------------------------------------------

def test_new_contract_can_be_deployed_and_run_as_it_is(temp, tmp_path, contracts):
    r = tana("new", "contract", "shop", cwd=tmp_path)
    assert (r.returncode, r.stderr) == (0, "")
    assert sorted(os.listdir(tmp_path / "shop")) == ["contract.json", "contract.ts", "tsconfig.json"]
    meta = json.loads((tmp_path / "shop/contract.json").read_text())
    assert meta["name"] == "shop" and set(meta) == {"name", "version", "description", "author", "createdAt"}
    r = tana("deploy", "shop", "--contracts", contracts, cwd=tmp_path)
    assert (r.returncode, r.stderr) == (0, "") and "(get, post)" in r.stdout
    r = tana("run", "shop", "--path", "?name=Ada", cwd=tmp_path)
    assert json.loads(r.stdout) == {"message": "Hello, Ada!"}


def test_new_contract_writes_over_nothing(tmp_path):
    write(tmp_path, {"shop/contract.ts": "mine", "file": "mine"})
    for name in ("shop", "file"):
        r = tana("new", "contract", name, cwd=tmp_path)
        assert (r.returncode, r.stderr) == (1, f"{name}: error: exists already\n")
    assert (tmp_path / "shop/contract.ts").read_text() == "mine" and os.listdir(tmp_path / "shop") == ["contract.ts"]
    for args, status, words in ((["contract", "A"], 1, "no identifier"), (["contract", "../x"], 1, "no identifier"), (["contract"], 2, "NAME is missing"),
                                (["project", "x"], 2, 'only "new contract"'), (["contract", "x", "y"], 2, "one argument too many: y")):
        r = tana("new", *args, cwd=tmp_path)
        assert r.returncode == status and words in r.stderr and r.stderr.count("\n") == 1
    assert sorted(os.listdir(tmp_path)) == ["file", "shop"]


def test_new_contract_on_a_full_disk_leaves_nothing(contracts):
    r = in_mount(f"""
        mount -t tmpfs -o nr_inodes=3 none {contracts}
        cd {contracts}
        {TANA} new contract shop || echo "status $?"
        ls""")
    assert r.stdout == "status 1\n" and "ENOSPC" in r.stderr and "shop" in r.stderr and r.stderr.count("\n") == 1


# -- nothing outside of the contract's directory ----------------------------------------------

@pytest.mark.parametrize("escape", ESCAPES, ids=lambda f: f.__name__)
def test_no_command_reads_outside_of_the_contract(temp, tmp_path, contracts, escape):
    victim = write(tmp_path / "all/victim", {"secret.ts": "export const secret = 'another tenant';", "secret.json": '{"secret": "another tenant"}',
                                             "secret.txt": "another tenant"})
    root = tmp_path / "all/thief"
    root.mkdir()
    text = escape(root, victim)
    if text is not None:
        (root / "get.ts").write_text(text)
    for command in (["deploy", root, "--contracts", contracts], ["run", root], ["compile", root, "-o", tmp_path / "out"]):
        r = tana(*command)
        assert r.returncode == 1 and "outside the contract's directory" in r.stderr, r.stderr
        assert "another tenant" not in r.stdout + r.stderr
    dev = Dev(root)
    try:
        said = dev.wait_for("thief: waiting for a change")
    finally:
        assert dev.end() == 130
    assert "outside the contract's directory" in said and "another tenant" not in said
    assert os.listdir(temp) == [] and not (contracts / "thief").exists() and leftovers(contracts) == []


def test_metadata_and_what_is_deployed_come_from_the_directory_alone(temp, tmp_path, contracts):
    write(tmp_path, {"secret.json": '{"author": "another tenant"}', "c/get.ts": "export const Get = (r: any) => r.tana.contract;"})
    (tmp_path / "c/contract.json").symlink_to("../secret.json")
    (tmp_path / "c/post.ts").symlink_to("/etc/hostname")
    for command in (["deploy", tmp_path / "c", "--contracts", contracts], ["run", tmp_path / "c"]):
        r = tana(*command)
        assert r.returncode == 1 and "outside the contract's directory" in r.stderr and "another tenant" not in r.stdout + r.stderr
    assert not (contracts / "c").exists() and os.listdir(temp) == []


def test_a_deployed_version_holds_no_link(tmp_path, contracts):
    """A link within the directory is followed, and what it leads to becomes a file."""
    write(tmp_path / "c", {"get.ts": "import { v } from './alias'; export const Get = () => v;", "lib/real.ts": "export const v = 1;"})
    (tmp_path / "c/alias.ts").symlink_to("lib/real.ts")
    r = tana("deploy", tmp_path / "c", "--contracts", contracts)
    assert r.returncode == 0, r.stderr
    assert not [p for p in (contracts / "c").resolve().rglob("*") if p.is_symlink()]


def test_a_compiler_that_cannot_be_loaded_is_named_in_one_line(tmp_path):
    launcher = tmp_path / "tana"
    launcher.write_text(re.sub("(?m)^TANA_NODE_MODULES=.*", f"TANA_NODE_MODULES='{tmp_path}/none'", Path(TANA).read_text()))
    write(tmp_path, {"get.ts": "export const Get = () => 1;"})
    r = subprocess.run(["sh", launcher, "compile", tmp_path, "-o", "-"], capture_output=True, text=True, timeout=60)
    assert (r.returncode, r.stdout) == (1, "")
    assert f"esbuild in {tmp_path}/none cannot be loaded: " in r.stderr and r.stderr.count("\n") == 1
