"""The commands and examples that README and the manual pages show, run as they stand there."""

import os
import re
import select
import signal
import subprocess
import sys

import pytest

from conftest import BUILD, SOURCE, free_port, until

PAGES = {"tana-ctl.8": "supervisor/tana-ctl.8.in", "tana-edge.8": "supervisor/tana-edge.8.in",
         "tana-edge.conf.5": "supervisor/tana-edge.conf.5.in", "tana-contract.7": "worker/toolchain/tana-contract.7"}


def displays(page, section):
    """The literal displays in a manual page's section."""
    text = (SOURCE / PAGES[page]).read_text()
    body = re.search(rf"^\.Sh {section}$(.*?)(?=^\.Sh |\Z)", text, re.M | re.S).group(1)
    found = re.findall(r"^\.Bd -literal[^\n]*\n(.*?)^\.Ed$", body, re.M | re.S)
    assert found
    return [re.sub(r"\\e$", r"\\", d, flags=re.M) for d in found]


def shell(text, cwd, env=None, **kw):
    done = subprocess.run(["bash", "-e", "-o", "pipefail", "-c", text], cwd=cwd, stdin=subprocess.DEVNULL, text=True,
                          capture_output=True, timeout=240, check=False,
                          env={**os.environ, "PATH": f"{BUILD}:{os.environ['PATH']}", **(env or {})}, **kw)
    assert done.returncode == 0, f"{text}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture
def open_path(tmp_path):
    """Where the server's users get to, too."""
    for p in [tmp_path, *tmp_path.parents]:
        if p.stat().st_uid == os.getuid() and p != p.parent and str(p) != "/tmp":
            p.chmod(p.stat().st_mode | 0o055)
    return tmp_path


def test_the_tour_works_as_printed(open_path):
    readme = (SOURCE / "README").read_text()
    section = re.search(r"^Five minutes\n-+\n(.*?)(?=^\w[^\n]*\n-{5,}$)", readme, re.M | re.S).group(1)
    lines = [line[1:] for line in section.splitlines() if line.startswith("\t")]
    assert lines[0] == "./bootstrap build" and lines[1] == "PATH=$PWD/build:$PATH"
    tour = open_path / "tana-tour"
    script = "\n".join(lines[2:]).replace("/tmp/tana-tour", str(tour)).replace("8181", str(free_port()))
    wanted = re.findall(r"# (\{.*\})$", script, re.M)
    assert len(wanted) == 4
    # Should something fail, the daemon must not stay.
    out = shell(f"trap 'tana-ctl -s {tour}/run/control.sock stop >/dev/null 2>&1 || :' EXIT\n{script}", open_path)
    assert re.findall(r"\{\"message.*?\}", out) == wanted
    assert re.search(r"^[0-9a-f.]{16,}\s.*current$", out, re.M)
    assert re.search(r"^greet\s+serving\s", out, re.M)
    assert out.endswith("stopped\n")


def test_the_examples_of_tana_ctl_work(start, tmp_path):
    s = start({"hello": {"get.js": "exports.get = function () { return new Promise(function (ok) {"
                                   " setTimeout(function () { ok(1); }, 1500); }); };"}})
    wrapper = tmp_path / "bin"
    wrapper.mkdir()
    (wrapper / "tana-ctl").write_text(f"#!/bin/sh\nexec {BUILD}/tana-ctl -s {s.run_dir}/control.sock \"$@\"\n")
    (wrapper / "tana-ctl").chmod(0o755)
    path = {"PATH": f"{wrapper}:{os.environ['PATH']}"}
    s.get("/hello")
    asked = s.begin("GET", "/hello")
    until("it runs", lambda: any(w["state"] == "busy" for w in s.workers()))
    commands, = displays("tana-ctl.8", "EXAMPLES")
    busy, recycle, top, tail = commands.splitlines()
    assert shell(busy, tmp_path, path) == "hello\n"
    assert re.fullmatch(r"\d+ workers? replaced\n", shell(recycle, tmp_path, path))
    assert asked.finish().status == 200
    assert "requests" in shell(top.replace("-interval 5", "-interval 1"), tmp_path, path)
    p = subprocess.Popen(["bash", "-c", f"exec {tail}"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                         env={**os.environ, **path})
    try:
        def shown():	# when it is connected
            s.get("/hello")
            return select.select([p.stdout], [], [], 0)[0]
        until("it shows something", shown)
        assert "contract=hello" in p.stdout.readline()
    finally:
        p.terminate()
        p.wait(20)


def test_the_examples_of_tana_edge_work(open_path):
    serve, rotate, restore = displays("tana-edge.8", "EXAMPLES")
    port = str(free_port())
    (open_path / "contracts/hello").mkdir(parents=True)
    (open_path / "contracts/hello/get.js").write_text("exports.get = function () { return 'here'; };")
    # The examples that follow mean the server of the default configuration: let it be this one.
    bin = open_path / "bin"
    bin.mkdir()
    for name, options in (("tana-ctl", f"-s {open_path}/run/control.sock"),
                          ("tana-edge", f"-o run_dir={open_path}/run -o state_dir={open_path}/state")):
        (bin / name).write_text(f"#!/bin/sh\nexec {BUILD}/{name} {options} \"$@\"\n")
        (bin / name).chmod(0o755)
    path = {"PATH": f"{bin}:{os.environ['PATH']}"}
    command = serve.strip().replace("8180", port)
    p = subprocess.Popen(["bash", "-c", f"exec {command} -o log={open_path}/tana-edge.log"], cwd=open_path,
                         stdin=subprocess.DEVNULL,
                         env={**os.environ, "PATH": f"{BUILD}:{os.environ['PATH']}"})
    try:
        def answers():
            return subprocess.run(["curl", "-s", f"http://127.0.0.1:{port}/hello"], capture_output=True, text=True,
                                  check=False).stdout
        until("it answers", lambda: answers() == '"here"')
        shell(rotate.replace("/var/log/", f"{open_path}/").replace("/run/tana-edge/", f"{open_path}/run/"), open_path)
        until("the log is a new one", (open_path / "tana-edge.log").exists)
        assert (open_path / "tana-edge.log.1").stat().st_size > 0
        shell(f"tana-ctl backup {open_path}/tana-data", open_path, path)
        shell(restore.replace("/var/backups/", f"{open_path}/"), open_path, path)
    finally:
        p.send_signal(signal.SIGTERM)
        assert p.wait(60) == 0


def test_the_example_of_a_configuration_is_accepted(tmp_path):
    example = displays("tana-edge.conf.5", "EXAMPLES")[-1]
    (tmp_path / "conf").write_text(example)
    shell(f"tana-edge -c {tmp_path}/conf --check-config", tmp_path)


def test_the_contracts_of_the_manual_page_compile_and_answer(start):
    greet, = displays("tana-contract.7", "DESCRIPTION")
    visits, = displays("tana-contract.7", "MODULES")
    s = start({"greet": {"get.ts": greet}, "visits": {"get.ts": visits}})
    assert s.get("/greet?name=you").json() == {"hello": "you"}
    assert [s.get("/visits").json() for _ in range(3)] == [{"visits": n} for n in (1, 2, 3)]


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
