"""tana-worker as a tool: --check says whether a contract can be deployed,
--run answers one request.  People and programs read what they print."""

import json
import os
import subprocess

import pytest

from conftest import ROOT, SANITIZED, proc_status
from zygote_harness import BUILD

PROGRAM = os.path.join(BUILD, "tana-worker")


def run(*args):
    return subprocess.run([PROGRAM, *args], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          timeout=120)


@pytest.fixture
def contract(tmp_path):
    def write(source, name="get.js"):
        (tmp_path / name).write_text(source)
        return f"{name}={tmp_path / name}"
    return write


def check(*files, **options):
    done = run("--check", "--json", *files, *(a for k, v in options.items() for a in ("--" + k, v)))
    lines = done.stdout.splitlines()
    assert len(lines) == 1, done
    return done.returncode, json.loads(lines[0])


def test_good_contract_names_its_exports(contract):
    status, said = check(contract("exports.get = function () {}; exports.Post = function () {};"))
    assert status == 0
    assert said["ok"] is True and said["exports"] == ["get", "post"]


def test_module_level_error_has_file_and_line(contract):
    status, said = check(contract("var a;\n\nnull.x;\n", "contract.js"))
    assert status == 1
    assert said["ok"] is False
    assert (said["file"], said["line"]) == ("contract.js", 3)
    assert "TypeError" in said["error"]


def test_syntax_error_has_file_and_line(contract):
    status, said = check(contract("var a = 1;\nvar b = ;\n"))
    assert status == 1
    assert (said["file"], said["line"]) == ("get.js", 2)
    assert "SyntaxError" in said["error"] and "(line" not in said["error"]


def test_brace_too_many_does_not_cut_the_file_off(contract):
    status, said = check(contract("exports.get = function () {};\n}\nexports.post = function () {};\n{"))
    assert status == 1
    assert "SyntaxError" in said["error"] and said["line"] in (2, 3)    # where it stands, or is noticed


def test_end_of_file_in_a_function_is_said_so(contract):
    status, said = check(contract("exports.get = function () {\n\n"))
    assert status == 1
    assert said["ok"] is False and "end of" in said["error"]


def test_contract_without_exports_is_refused(contract):
    status, said = check(contract("var x = 1;"))
    assert status == 1
    assert said["ok"] is False and said["error"]


def test_endless_module_level_ends(contract):
    done = run("--check", "--json", "--cpu-seconds", "1", contract("for (;;) ;"))
    assert done.returncode == 1
    assert "CPU time" in json.loads(done.stdout)["error"]


def test_greedy_module_level_ends(contract):
    status, said = check(contract("var a = []; for (;;) a.push(new Uint8Array(1 << 16));"), memory="16")
    assert status == 1
    assert "memory" in said["error"]


def test_text_in_reports_is_valid_json_whatever_it_holds(contract):
    status, said = check(contract("throw new Error('\"\\\\\\n\\u2028 \\ud83d\\ude00 \\ud83d');"))
    assert status == 1
    assert "\u2028 😀 \ufffd" in said["error"]


def test_run_answers_a_request(contract):
    file = contract("exports.post = function (req, body) {"
                    " return { path: req.path, q: req.query.a, n: body.n + 1, h: req.headers.get('x-y') }; };",
                    "post.js")
    done = run("--run", file, "--method", "POST", "--path", "/p", "--query", "a=b", "--header", "X-Y: z",
               "--header", "content-type: application/json", "--body", '{"n":1}', "--times")
    assert done.returncode == 0, done
    said = json.loads(done.stdout)
    assert said["status"] == 200
    assert json.loads(said["body"]) == {"path": "/p", "q": "b", "n": 2, "h": "z"}
    assert said["bytes"] > 0 and said["execution_us"] >= 0


def test_run_writes_the_console_to_stderr(contract):
    done = run("--run", contract("exports.get = function () { console.warn('careful'); return 1; };"))
    assert done.returncode == 0
    assert "warn: careful" in done.stderr


def test_run_waits_for_timers(contract):
    done = run("--run", contract("exports.get = function () { return new Promise(function (f) {"
                                 " setTimeout(function () { f('later'); }, 20); }); };"))
    assert json.loads(json.loads(done.stdout)["body"]) == "later"


def test_run_tells_a_fault_and_fails(contract):
    done = run("--run", contract("exports.get = function () { throw new Error('no'); };"))
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert said["fault"] == "THREW" and said["status"] == 500 and "no" in said["message"]


@pytest.mark.parametrize("args", [
    [], ["--nonsense"], ["--check"], ["--check", "get.js"], ["--run", "--memory", "x", "a=b"],
    ["--run", "--header", "no colon", "a=b"], ["--zygote", "extra"], ["--check", "--memory"],
])
def test_wrong_usage_is_exit_2_and_one_line(args):
    done = run(*args)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("tana-worker: ")


def test_missing_file_is_named(tmp_path):
    done = run("--check", f"get.js={tmp_path}/nothing.js")
    assert done.returncode == 1
    assert "nothing.js" in done.stderr


def test_help_and_version_go_to_stdout():
    for option in ("--help", "--version"):
        done = run(option)
        assert done.returncode == 0 and done.stdout and not done.stderr
    assert "Duktape 2.7" in run("--version").stdout


def test_zygote_without_its_socket_says_so():
    done = run("--zygote")
    assert done.returncode == 2
    assert "tana-edge" in done.stderr


@pytest.mark.parametrize("mode", ["--check", "--run"])
def test_a_contract_s_code_runs_shut_in(contract, mode):
    """A filter of system calls, no new privileges, and no descriptor but the three it says things by."""
    text = "console.log('here'); for (;;);" if mode == "--check" else "exports.get = function () { console.log('here'); for (;;); };"
    with open(os.devnull) as other:
        p = subprocess.Popen([PROGRAM, mode, contract(text)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             pass_fds=(other.fileno(),))
        try:
            assert p.stderr.readline() == "info: here\n"
            status = proc_status(p.pid)
            assert status["NoNewPrivs"] == "1"
            assert SANITIZED or status["Seccomp"] == "2"
            assert ROOT is False or sorted(os.listdir(f"/proc/{p.pid}/fd")) == ["0", "1", "2"]
        finally:
            p.kill()
            p.communicate()


def test_what_the_filter_has_to_leave_works(contract):
    """Memory beyond the first, timers, the clock, randomness, much output."""
    done = run("--run", "--times", contract("""
        exports.get = function () {
            var big = new Array(300001).join("\\u00e4"), n = 0;
            for (var i = 0; i < 300; i++) console.log(big.slice(0, 1000));
            return new Promise(function (resolve) {
                setTimeout(function () {
                    resolve({ big: big, time: new Date().toLocaleString() !== "", random: crypto.randomUUID().length + Math.random() >= 36 });
                }, 30);
            });
        };"""))
    assert done.returncode == 0, done.stderr[-500:]
    answer = json.loads(json.loads(done.stdout)["body"])
    assert len(answer["big"]) == 300000 and answer["time"] and answer["random"]
    assert done.stderr.count("\n") == 300
