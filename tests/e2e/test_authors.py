"""What authors do with tana besides compiling: versions, rollback, remove, several
contracts at once, and what each says when it cannot."""

import json
import os
import re
import subprocess
import threading
from pathlib import Path

import pytest

from conftest import until
from test_toolchain import TANA, in_namespace, leftovers, served, tana, versions, write


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
        p.send_signal(getattr(__import__("signal"), f"SIG{sig}"))
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
