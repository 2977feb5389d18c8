"""The log: what contracts and requests leave in it, and tana-ctl tail, which follows it."""

import json
import queue
import signal
import socket
import subprocess
import threading

import msgpack
import pytest
from conftest import BUILD, PATIENCE, until

CONTRACTS = {
    "talks": {"get.js": """
exports.get = function (req) {
	console.log('first', { n: 1 });
	console.warn(req.query.text || 'second');
	return 1;
};
"""},
    "other": {"get.js": "exports.get = function () { console.log('from the other'); return 1; };"},
    "floods": {"get.js": """
exports.get = function (req) {
	for (var i = 0; i < Number(req.query.n); i++)
		console.log('line ' + i);
	return 1;
};
"""},
}


class Tail:
    """tana-ctl tail, and what it prints."""

    def __init__(self, server, *args):
        self.proc = subprocess.Popen([BUILD / "tana-ctl", "-s", server.run_dir / "control.sock", "tail", *args],
                                     stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.queue = queue.Queue()
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        for line in self.proc.stdout:
            self.queue.put(line.rstrip("\n"))

    def line(self):
        return self.queue.get(timeout=PATIENCE)

    def until(self, *words):
        """The lines up to the one with the words."""
        lines = [self.line()]
        while not all(word in lines[-1] for word in words):
            lines.append(self.line())
        return lines

    def begin(self, server):
        """Nothing says that it listens but the first record."""
        def heard():
            server.get("/talks", headers={"X-Request-Id": "begin"})
            try:
                self.queue.get(timeout=0.1)
            except queue.Empty:
                return False
            return True
        until("tail hears something", heard)
        server.get("/talks", headers={"X-Request-Id": "begun"})
        while True:
            line = self.line()
            if "begun" in line and ("event\":\"request" in line or ": request " in line):
                return

    def end(self, patience=PATIENCE):
        self.proc.send_signal(signal.SIGINT)
        return self.proc.wait(patience)


@pytest.fixture
def tail():
    tails = []

    def start(*args):
        tails.append(Tail(*args))
        return tails[-1]
    yield start
    for t in tails:
        if t.proc.poll() is None:
            t.proc.kill()
        t.proc.wait()
        t.thread.join()
        t.proc.stdout.close()
        t.proc.stderr.close()


@pytest.fixture(scope="module")
def server(start_module):
    return start_module(CONTRACTS)


def fields(line):
    """key=value pairs of a text record without blanks in its values."""
    return dict(part.split("=", 1) for part in line.split() if "=" in part)


# -- the log ------------------------------------------------------------------------------

def test_console_and_request_records(server):
    server.get("/talks?text=a%0Ab%1b%5B31m%22c%22%20contract%3Dx", headers={"X-Request-Id": "records-1"})
    server.wait_log(": request ", "records-1")
    first, second = server.log_lines(": console ", "records-1")
    assert fields(first)["contract"] == "talks" and 'text="first {\\"n\\":1}"' in first and " info " in first
    # Nothing that a contract writes makes another record, another field or a terminal's escape.
    assert second.endswith('text="a\\nb\\u001b[31m\\"c\\" contract=x"') and " warn " in second
    record = fields(server.log_lines(": request ", "records-1")[0])
    assert record["contract"] == "talks" and record["status"] == "200" and record["ip"] == "127.0.0.1"


def test_console_and_request_records_in_json(start):
    s = start(CONTRACTS, log_format="json")
    s.get("/talks?text=a%0Ab%1b%5B31m%22c%22%20contract%3Dx", headers={"X-Request-Id": "records-2"})
    s.wait_log('"event":"request"', "records-2")
    records = [json.loads(line) for line in s.log_lines("records-2")]
    assert [(r["event"], r["contract"], r["request_id"]) for r in records if r["event"] != "x"] == [
        ("console", "talks", "records-2"), ("console", "talks", "records-2"), ("request", "talks", "records-2")]
    assert records[0]["text"] == 'first {"n":1}' and records[0]["level"] == "info"
    assert records[1]["text"] == 'a\nb\x1b[31m"c" contract=x' and records[1]["level"] == "warn"


def test_floods_are_limited_and_counted(start):
    """So many records a second; how many were not written is said, also when nothing follows."""
    s = start(CONTRACTS, log_format="json")
    assert s.get("/floods?n=1000").status == 200

    def told():
        records = [json.loads(line) for line in s.log_lines('"contract":"floods"')]
        return (sum(r["event"] == "console" for r in records), sum(r.get("dropped", 0) for r in records))
    until("all are written or counted", lambda: sum(told()) >= 1000)
    written, dropped = told()
    assert written + dropped == 1000 and 100 <= written <= 300
    assert s.stats()["log_dropped"] == dropped
    # Another contract is not limited by it.
    s.get("/other")
    s.wait_log("from the other")


# -- tail -----------------------------------------------------------------------------------

def test_tail_shows_what_the_log_has(server, tail):
    t = tail(server)
    t.begin(server)
    server.get("/talks?text=x%22y", headers={"X-Request-Id": "tail-1"})
    server.get("/other", headers={"X-Request-Id": "tail-2"})
    seen = t.until(": request ", "tail-2")
    log = server.log.splitlines()
    assert all(line in log for line in seen)
    assert [line for line in seen if "tail-" in line] == server.log_lines("tail-")
    assert len(server.log_lines("tail-")) == 5
    assert t.end() == -signal.SIGINT


def test_tail_of_one_contract(server, tail):
    t = tail(server, "talks")
    t.begin(server)
    server.get("/other", headers={"X-Request-Id": "tail-3"})
    server.get("/talks", headers={"X-Request-Id": "tail-4"})
    lines = t.until(": request ")
    assert len(lines) == 3 and all("tail-4" in line and "contract=talks" in line for line in lines)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_tail_in_json(start, tail, log_format):
    s = start(CONTRACTS, log_format=log_format)
    t = tail(s, "--json", "talks")
    t.begin(s)
    s.get("/talks?text=a%0Ab", headers={"X-Request-Id": "tail-5"})
    records = [json.loads(line) for line in t.until('"request"')]
    assert [r["event"] for r in records] == ["console", "console", "request"]
    assert all(r["request_id"] == "tail-5" and r["contract"] == "talks" for r in records)
    assert records[1]["text"] == "a\nb" and records[1]["level"] == "warn" and records[1]["process"] == "front"
    assert isinstance(records[2]["duration"], float) and records[2]["status"] == 200
    assert records[0]["time"].endswith("Z") and isinstance(records[0]["pid"], int)


def test_tail_ends_with_the_server(start, tail):
    s = start(CONTRACTS)
    t = tail(s)
    t.begin(s)
    assert s.stop() == 0
    assert t.proc.wait(PATIENCE) == 0
    assert t.proc.stderr.read() == "tana-ctl: the server has ended\n"


def test_tail_refuses(server):
    for args, code in ((("--wrong",), 2), (("a", "b"), 2), (("Not-an-id",), 1), (("",), 1)):
        done = server.ctl("tail", *args, check=False)
        assert done.returncode == code and done.stderr.startswith("tana-ctl: "), args


class Subscriber:
    def __init__(self, server, *params):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(server.run_dir / "control.sock"))
        self.unpacker = msgpack.Unpacker(max_buffer_size=0)
        self.sock.sendall(msgpack.packb([0, 1, "tail", list(params)]))
        self.messages = self.all()
        self.answer = next(self.messages)

    def all(self):
        while data := self.sock.recv(65536):
            self.unpacker.feed(data)
            yield from self.unpacker


def test_slow_readers_lose_records_and_hear_of_it(start):
    s = start(CONTRACTS)
    slow, narrow = Subscriber(s, {}), Subscriber(s, {"json": True, "contract": "talks"})
    assert slow.answer == narrow.answer == [1, 1, None, True]
    n, path = 1500, "p" * 500
    for i in range(n):
        assert s.get(f"/talks/{path}", headers={"X-Request-Id": f"slow-{i}"}).status == 200
    s.wait_log(": request ", f"slow-{n - 1}")
    for sub in (slow, narrow):
        lines, lost = [], 0
        sub.sock.settimeout(2)
        try:
            for kind, method, params in sub.messages:
                assert kind == 2 and method in ("log", "lost") and len(params) == 1
                if method == "log":
                    lines.append(params[0])
                else:
                    lost += params[0]
        except TimeoutError:
            pass
        written = s.log_lines("contract=talks")
        heard = [line for line in lines if "talks" in line]
        assert len(written) > n and 0 < len(heard) < len(written)
        # Who follows all may lack others than these.
        others = 0 if sub is narrow else 100
        assert 0 <= len(heard) + lost - len(written) <= others
        assert s.ctl("ping").stdout == "pong\n"
        sub.sock.close()
    assert s.get("/talks").status == 200


def test_wrong_subscriptions(server):
    for params in ([1], [{}, {}], [{"json": 1}], [{"contract": "A"}], [{"contract": 1}], [{"other": 1}], [{1: 1}]):
        sub = Subscriber(server, *params)
        assert sub.answer[2] is not None and sub.answer[3] is None
        sub.sock.close()


def test_many_subscribers_come_and_go(server):
    subs = [Subscriber(server) for _ in range(20)]
    for sub in subs[::2]:
        sub.sock.close()
    server.get("/other", headers={"X-Request-Id": "many-1"})
    for sub in subs[1::2]:
        for _, method, params in sub.messages:
            if method == "log" and "many-1" in params[0]:
                break
        sub.sock.close()
    assert server.get("/other").status == 200
