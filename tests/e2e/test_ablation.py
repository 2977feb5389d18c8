"""bench/ablation: that its rows are what they say, not how fast they are."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from conftest import BUILD, PATIENCE, SANITIZED, SOURCE, descendants, until

ABLATION = SOURCE / "bench/ablation"
ROW = {"key", "name", "note", "reason", "p50_ms", "p99_ms", "contract_ms", "heap_ms", "rate_1", "rate_n", "clients_n", "memory_mb", "memory_is", "ratio",
       "predecessor_ms", "spread", "requests", "rounds"}
NODE = re.search(r"^exec '(.*?)' ", (BUILD / "tana").read_text(), re.M).group(1)

needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="no wrk (Debian: wrk)")
needs_node = pytest.mark.skipif(not os.access(NODE, os.X_OK), reason=f"no node: the build's is {NODE}, and that is not there")


@pytest.fixture
def where():
    """A directory that servers' users reach, with a name that leaves room for a socket's."""
    path = Path(tempfile.mkdtemp(prefix="tana-e2e-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def ablation(*args, build=BUILD, program=ABLATION, **env):
    return subprocess.run([sys.executable, program, *map(str, args), build], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=4 * PATIENCE, check=False, env={**os.environ, **env})


def rows(where, *args, **kw):
    """(the finished process, {key: row}) of a run."""
    done = ablation(*args, "--json", where / "rows.json", TMPDIR=str(where), **kw)
    assert (where / "rows.json").exists(), done.stderr
    return done, {r["key"]: r for r in json.loads((where / "rows.json").read_text())["rows"]}


def test_help():
    done = ablation("--help")
    assert done.returncode == 0
    for word in ("--quick", "--rounds", "--seconds", "--clients", "--rows", "--json", "snapshot", "isolate"):
        assert word in done.stdout


@pytest.mark.parametrize(("args", "said"), [
    (["--rows", "compiled,lightning"], 'no row "lightning"; the rows are anew, compiled'),
    (["--rounds", "0"], "--rounds: invalid number from 1 on value: '0'"),
    (["--seconds", "few"], "--seconds: invalid number from 1 on value: 'few'"),
    (["--json", "/nowhere/rows.json"], "--json: /nowhere/rows.json cannot be written to"),
    (["--fast"], "unrecognized arguments: --fast"),
])
def test_wrong_arguments(args, said):
    done = ablation(*args)
    assert done.returncode == 2
    assert said in done.stderr


def test_no_build(where):
    done = ablation(build=where)
    assert done.returncode == 1
    assert f"{where}/tana-edge is not built" in done.stderr


@needs_wrk
@needs_node
def test_rows(where):
    done, got = rows(where, "--rows", "reuse,snapshot", "--rounds", "2", "--seconds", "1", "--clients", "2")
    assert done.returncode == 0, done.stderr
    assert list(got) == ["snapshot", "reuse"]
    for row in got.values():
        assert set(row) >= ROW
        assert row["note"]
        assert row["reason"] is None
        assert row["ratio"] is None		# the first row was left out
        assert row["requests"] > 0
        assert (row["rounds"], row["clients_n"]) == (2, 2)
        assert min(row["p50_ms"], row["p99_ms"], row["rate_1"], row["rate_n"], row["memory_mb"]) > 0
        assert row["name"] in done.stdout
        assert f"{row['key']}: {row['note']}" in done.stdout
    assert got["snapshot"]["predecessor_ms"] == 15
    assert got["reuse"]["predecessor_ms"] is None
    assert "round 2 of 2, row 2 of 2" in done.stderr
    assert os.listdir(where) == ["rows.json"]


@needs_wrk
@needs_node
@pytest.mark.skipif(SANITIZED, reason="it would take minutes")
def test_compiles_for_each_request(where):
    """It checks that itself, by the server's count."""
    done, got = rows(where, "--rows", "pool-tsc", "--rounds", "1", "--seconds", "1", "--clients", "2")
    assert done.returncode == 0, done.stderr
    assert got["pool-tsc"]["requests"] > 0
    assert got["pool-tsc"]["contract_ms"] > got["pool-tsc"]["heap_ms"]	# that is where a compiler's time is seen


def planted(where, old, new):
    """bench/ablation with a change to it."""
    path = where / "bench/ablation"
    path.parent.mkdir()
    (path.parent / "tana_bench.py").symlink_to(SOURCE / "bench/tana_bench.py")
    text = ABLATION.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    return path


@needs_wrk
@needs_node
@pytest.mark.skipif(SANITIZED, reason="it would take minutes")
def test_too_few_contracts(where):
    """wrk, once it has none for the next request, stops, and its figures mean nothing."""
    program = planted(where, "CONTRACTS = 300", "CONTRACTS = 2")
    done, got = rows(where, "--rows", "pool-tsc", "--rounds", "1", "--seconds", "1", "--clients", "1", program=program)
    assert done.returncode == 0, done.stderr
    assert got["pool-tsc"]["requests"] > 2


@needs_wrk
@needs_node
def test_sees_that_nothing_was_compiled(where):
    """A row whose contracts are compiled already must not pass for one that compiles."""
    program = planted(where, 'if self.row.source == "typescript":\n            (self.contracts', "if False:\n            (self.contracts")
    done, got = rows(where, "--rows", "pool-tsc", "--rounds", "1", "--seconds", "1", program=program)
    assert done.returncode == 1
    assert re.search(r"^failed: \d+ requests were answered, but only 0 contracts compiled$", got["pool-tsc"]["reason"])
    assert got["pool-tsc"]["p50_ms"] is None


@needs_wrk
def test_goes_on_without_node(where):
    build = where / "build"
    build.mkdir()
    for name in ("tana-edge", "tana-ctl"):
        (build / name).symlink_to(BUILD / name)
    (build / "tana").write_text((BUILD / "tana").read_text().replace(f"exec '{NODE}'", "exec '/nowhere/node'"))
    done, got = rows(where, "--rows", "compiled,isolate", build=build)
    assert done.returncode == 1		# nothing at all was measured
    for row in got.values():
        assert row["reason"] == "not measured: no node: the build's is /nowhere/node, and that is not there"
        assert row["p50_ms"] is None


@needs_wrk
@needs_node
@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_ends_what_it_started(where, sig):
    temporary = where / "tmp"
    temporary.mkdir()
    with open(where / "said", "wb") as said:
        p = subprocess.Popen([sys.executable, ABLATION, "--rows", "snapshot", "--seconds", "30", BUILD], stdin=subprocess.DEVNULL,
                             stdout=said, stderr=said, env={**os.environ, "TMPDIR": str(temporary)})
    try:
        family = until("wrk is at work", lambda: (f := descendants(p.pid)) and any("wrk" in q.argv[0] for q in f if q.argv) and f)
        p.send_signal(sig)
        assert p.wait(PATIENCE) == 128 + sig
    finally:
        if p.poll() is None:
            p.terminate()
            p.wait(PATIENCE)
    until("all are gone", lambda: not [q.pid for q in family if Path(f"/proc/{q.pid}").exists()])
    assert os.listdir(temporary) == []
    assert "Traceback" not in (where / "said").read_text()
