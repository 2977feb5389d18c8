"""The example contracts answer as their comments say, compiled on the fly from their TypeScript."""

import os
import signal

import pytest
from conftest import SANITIZED, SOURCE, until

EXAMPLES = sorted(p.name for p in (SOURCE / "tests/contracts").iterdir() if p.is_dir())


@pytest.fixture(scope="module")
def server(start_module):
    # The first request of each compiles it, so that a deadline is the handler's alone.
    return start_module(deadline_ms=2500 if SANITIZED else 1500, memory_max="48m",
                        queue_timeout_ms=60000, compile_timeout_ms=60000,
                        deadline_grace_ms=1000 if SANITIZED else 20)


def test_all_examples_are_looked_at():
    with open(__file__, encoding="utf-8") as f:
        text = f.read()
    assert [name for name in EXAMPLES if f'get("/{name}' not in text and f'post("/{name}' not in text
            and f'("/{name}"' not in text] == []


def test_hello(server):
    assert server.get("/hello").json() == {"message": "Hello, world!"}
    a = server.get("/hello?name=Ada%20L")
    assert a.json() == {"message": "Hello, Ada L!"}
    server.wait_log("console", "greeting Ada L", a.headers["x-request-id"])


def test_echo(server):
    a = server.post("/echo/p", {"a": [1, 2]}, headers={"Content-Type": "application/json"})
    assert a.json() == {"method": "POST", "path": "/p", "type": "application/json", "body": {"a": [1, 2]}}
    assert server.post("/echo", "plain é".encode(), headers={"Content-Type": "text/plain"}).json()["body"] == "plain é"
    assert server.get("/echo").status == 405


def test_counter(server):
    assert server.get("/counter/visits").json() == {"count": 0}
    assert [server.post("/counter/visits").json()["count"] for _ in range(3)] == [1, 2, 3]
    assert server.post("/counter/other").json() == {"count": 1}
    assert server.get("/counter/visits").json() == {"count": 3}


def test_greet(server):
    assert server.get("/greet?name=Eva&language=de").text == "Hallo, Eva!"
    kind = {"Content-Type": "application/json"}
    a = server.post("/greet", {"name": "Eva", "language": "fr"}, headers=kind)
    assert (a.status, a.json()) == (201, {"greeting": "Bonjour, Eva!"})
    assert server.post("/greet", {"name": 1}, headers=kind).status == 400


def test_async_classes(server):
    assert server.get("/async-classes?rate=2&x=y").json() == {
        "label": "shelf of 2 (pieces)", "first": "apple: 12", "rest": ["pear: 6"], "sum": 18,
        "failure": "OutOfStock: there is no plum", "others": {"x": "y"}, "last": 1}


def test_json_value(server):
    a = server.get("/json-value")
    assert a.headers.get_content_type() == "application/json"
    assert a.json() == {"text": "grüße 🎉", "number": 1.5, "yes": True, "nothing": None,
                        "list": [1, [2, [3]]], "when": "1970-01-01T00:00:00.000Z"}


def test_timers(server):
    got = server.get("/timers?ms=30").json()
    assert got == {"order": ["handler", "microtask", "promise", "timeout 0"], "ticked": True}


def test_fetch_style(server):
    assert server.get("/fetch-style/notes").json() == ["1"]
    assert server.get("/fetch-style/notes/1").json() == "the first note"
    a = server.request("PUT", "/fetch-style/notes/2", body="second")
    assert (a.status, a.json(), a.headers["location"]) == (201, [["1", "the first note"], ["2", "second"]], "/notes/2")
    assert server.get("/fetch-style/notes/2").status == 404		# that request's alone
    assert server.request("PATCH", "/fetch-style/notes").headers["allow"] == "GET, PUT"


def test_ledger(server):
    block = server.get("/ledger").json()
    assert block["contractId"] == "ledger" and block["height"] >= 0
    kind = {"Content-Type": "application/json"}
    move = {"from": "a", "to": "b", "amount": 5}
    staged = [{"type": "transfer", "from": "a", "to": "b", "amount": 5, "currency": "USD"}]
    for _ in range(2):						# nothing is left of the first
        assert server.post("/ledger?dry", move, headers=kind).json() == {"staged": staged}
    assert server.post("/ledger", dict(move, to="a"), headers=kind).json() == {"error": "Cannot transfer to self"}
    assert server.post("/ledger", dict(move, amount=0), headers=kind).json() == {"error": "Amount must be positive"}


def test_pollute(server):
    seen = [server.get("/pollute").json() for _ in range(6)]
    assert [s["found"] for s in seen] == [[]] * 6
    assert len({s["random"] for s in seen}) == 6


def test_crash(server):
    """Its worker is killed while it runs: 502 for that request, and only for that one."""
    assert server.get("/crash?ms=1").json() == {"survived": 1}
    pending = server.begin("GET", "/crash?ms=60000")
    busy = until("it runs", lambda: [w["pid"] for w in server.workers()
                                     if (w["contract"], w["state"]) == ("crash", "busy")])
    os.kill(busy[0], signal.SIGKILL)
    a = pending.finish()
    assert (a.status, a.code) == (502, "worker_died")
    assert server.get("/crash?ms=1").status == 200


def test_throws(server):
    for query in ("?message=the-secret", "?sync&message=the-secret"):
        a = server.get("/throws" + query)
        assert (a.status, a.code) == (500, "contract_error")
        assert "the-secret" not in a.text
        server.wait_log("the-secret", a.json()["error"]["requestId"])


@pytest.mark.parametrize("path,answers", [
    ("/loops", [(504, "deadline_exceeded")]),
    ("/regexp-bomb", [(504, "deadline_exceeded"), (500, "contract_error")]),
    ("/memory-bomb", [(500, "memory_limit"), (500, "contract_error")]),
])
def test_the_bad_ones_end_and_harm_nobody(server, path, answers):
    assert server.get("/hello").status == 200
    for _ in range(2):
        a = server.get(path)
        assert (a.status, a.code) in answers
        assert server.get("/hello").status == 200
