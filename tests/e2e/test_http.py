"""The HTTP server, spoken to byte by byte.

tests/http_echo is the server in front of a dispatcher of a few lines (its
comment lists what it answers), so that nothing but HTTP is tested here.
"""

import contextlib
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import tempfile
from pathlib import Path

import pytest

from conftest import BUILD, PATIENCE, until

PROGRAM = BUILD / "tests/http_echo"


class Reply:
    def __init__(self, status, fields, body):
        self.status, self.fields, self.body = status, fields, body

    def all(self, name):
        return [v for n, v in self.fields if n.lower() == name.lower()]

    def get(self, name):
        found = self.all(name)
        assert len(found) <= 1, f"{name} is there {len(found)} times"
        return found[0] if found else None

    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        return self.json()["error"]["code"]

    def __repr__(self):
        return f"<{self.status} {self.fields} {self.body[:200]!r}>"


class Client:
    """One connection.  Reads answers strictly: what is left over shows."""

    def __init__(self, address, rcvbuf=None):
        if isinstance(address, tuple):
            self.s = socket.socket()
            self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if rcvbuf:
                self.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        else:
            self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(PATIENCE)
        self.s.connect(address)
        self.data = b""

    def send(self, data):
        self.s.sendall(data.encode() if isinstance(data, str) else data)

    def get(self, target, *fields, method="GET", version="1.1"):
        self.send(f"{method} {target} HTTP/{version}\r\nHost: a\r\n" +
                  "".join(f + "\r\n" for f in fields) + "\r\n")
        return self.reply(head=method == "HEAD")

    def more(self):
        data = self.s.recv(65536)
        self.data += data
        return bool(data)

    def line(self):
        while b"\r\n" not in self.data:
            assert self.more(), f"the connection ended after {self.data!r}"
        line, _, self.data = self.data.partition(b"\r\n")
        return line.decode()

    def reply(self, head=False):
        status = re.fullmatch(r"HTTP/1\.1 ([1-5]\d\d) [ -~]*", self.line())
        assert status, "no status line"
        status, fields = int(status[1]), []
        while line := self.line():
            name, colon, value = line.partition(": ")
            assert colon and re.fullmatch(r"[A-Za-z0-9-]+", name), f"a strange field: {line!r}"
            fields.append((name, value))
        r = Reply(status, fields, b"")
        if status >= 200:
            assert len(r.all("Date")) == len(r.all("X-Request-Id")) == 1
            length = r.get("Content-Length")
            assert (length is None) == (status in (204, 304))
            if not head and length:
                while len(self.data) < int(length):
                    assert self.more(), "the connection ended in the body"
                r.body, self.data = self.data[:int(length)], self.data[int(length):]
        else:
            assert fields == []
        return r

    def at_end(self):
        """No byte but the end follows."""
        while self.more():
            pass
        return self.data == b""

    def refused(self, status, code=None):
        """One error, and nothing after it."""
        r = self.reply()
        assert r.status == status, r
        if code:
            assert r.code == code
        assert r.get("Connection") == "close"
        assert r.get("Content-Type") == "application/json"
        assert r.json()["error"]["requestId"] == r.get("X-Request-Id")
        assert self.at_end(), f"after the error: {self.data!r}"
        return r

    def half_close(self):
        self.s.shutdown(socket.SHUT_WR)

    def reset(self):
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.s.close()

    def close(self):
        self.s.close()


class Echo:
    def __init__(self, *args, **options):
        self.clients = []
        self.log = tempfile.TemporaryFile()
        command = [PROGRAM, *args]
        options.setdefault("idle_timeout_ms", 3600000)	# however slow the machine
        for name, value in options.items():
            command += ["-o", f"{name}={value}"]
        self.proc = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True)
        word, _, port = self.proc.stdout.readline().partition(" ")
        assert word == "port", self.log_text()
        self.address = "127.0.0.1", int(port)
        self.control = self.client()

    def client(self, address=None, **kw):
        c = Client(address or self.address, **kw)
        self.clients.append(c)
        return c

    def log_text(self):
        return os.pread(self.log.fileno(), 1 << 24, 0).decode(errors="replace")

    def stats(self):
        return self.control.get("/stats").json()

    def until(self, **wanted):
        """Wait until the counters are these."""
        def look():
            now = self.stats()
            return all(now[k] == v for k, v in wanted.items())
        until(f"stats are {wanted}", look)

    def sync(self):
        """What was sent before has been read after this (the server is one thread)."""
        assert self.control.get("/status/200").status == 200

    def release(self):
        assert self.control.get("/release").status == 200

    def set(self, option):
        assert self.control.get("/option?" + option).status == 200

    def signal(self, sig):
        self.proc.send_signal(sig)

    def wait(self):
        return self.proc.wait(PATIENCE)

    def close(self):
        for c in self.clients:
            c.close()
        if self.proc.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
        self.proc.stdout.close()
        log = self.log_text()
        self.log.close()
        assert self.proc.returncode == 0, log[-4000:]
        for word in ("Sanitizer", "runtime error:", "panic", "differ"):
            assert word not in log, log[-4000:]


@pytest.fixture(scope="module")
def shared():
    e = Echo()
    yield e
    e.close()


@pytest.fixture
def echo(shared):
    """The server that has all defaults; each test gets a fresh list of connections."""
    mark = len(shared.clients)
    yield shared
    for c in shared.clients[mark:]:
        c.close()
    del shared.clients[mark:]


@pytest.fixture
def start():
    with contextlib.ExitStack() as stack:
        def make(*args, **options):
            e = Echo(*args, **options)
            stack.callback(e.close)
            return e
        yield make


# -- one request after another ---------------------------------------------------

def test_keep_alive_by_default(echo):
    c = echo.client()
    for n in range(3):
        r = c.get(f"/echo/{n}")
        assert (r.status, r.json()["path"], r.get("Connection")) == (200, f"/{n}", None)


def test_connection_close_is_obeyed(echo):
    c = echo.client()
    r = c.get("/echo", "Connection: close")
    assert r.status == 200 and r.get("Connection") == "close"
    assert c.at_end()


def test_http_1_0_closes(echo):
    c = echo.client()
    c.send("GET /echo HTTP/1.0\r\n\r\n")
    r = c.reply()
    assert r.status == 200 and r.json()["url"] == "http://localhost/" and r.get("Connection") == "close"
    assert c.at_end()


def test_http_1_0_keeps_alive_when_asked(echo):
    c = echo.client()
    for _ in range(2):
        assert c.get("/echo", "Connection: Keep-Alive", version="1.0").get("Connection") == "keep-alive"


def test_an_empty_line_between_requests(echo):
    c = echo.client()
    for _ in range(2):
        c.send("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi\r\n")
        assert c.reply().body == b"hi"


def test_pipelined_requests_are_answered_in_order(echo):
    c = echo.client()
    c.send("".join(f"GET /echo/{n} HTTP/1.1\r\nHost: a\r\n\r\n" for n in range(500)))
    assert [c.reply().json()["path"] for _ in range(500)] == [f"/{n}" for n in range(500)]


def test_pipelined_behind_a_slow_one(echo):
    """More than is read ahead: the rest stays where it is, and is read later."""
    c = echo.client()
    c.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
    c.send("".join(f"GET /echo/{n} HTTP/1.1\r\nHost: a\r\n\r\n" for n in range(2000)))
    echo.sync()
    echo.sync()
    assert select.select([c.s], [], [], 0)[0] == []
    echo.release()
    assert c.reply().body == b"held"
    assert [c.reply().json()["path"] for _ in range(2000)] == [f"/{n}" for n in range(2000)]


def test_pipelined_slow_ones_one_after_the_other(echo):
    c = echo.client()
    c.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n" * 3 + "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n")
    for _ in range(3):
        until("one is held", lambda: echo.control.get("/release").body == b"released 1")
        assert c.reply().body == b"held"
    assert c.reply().json()["contract"] == "echo"


def test_pipelined_errors_of_contracts_do_not_end_the_connection(echo):
    c = echo.client()
    names = ["METHOD", "THREW", "WORKER_DIED", "OVERLOAD", "DEADLINE", "NOT_FOUND"]
    c.send("".join(f"GET /fault/{n} HTTP/1.1\r\nHost: a\r\n\r\n" for n in names))
    assert [c.reply().status for _ in names] == [405, 500, 502, 503, 504, 404]
    assert c.get("/echo").status == 200


STREAM = (b"POST /body/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
          b"POST /body/y HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
          b"3;a=b\r\nabc\r\n1\r\nd\r\n0\r\nT: u\r\n\r\n"
          b"GET /status/204 HTTP/1.1\r\nHost: a\r\n\r\n")


def check_stream(c):
    assert c.reply().body == b"hello"
    assert c.reply().body == b"abcd"
    assert c.reply().status == 204


def test_split_at_every_byte(echo):
    c = echo.client()
    for n in range(1, len(STREAM)):
        c.send(STREAM[:n])
        echo.sync()
        c.send(STREAM[n:])
        check_stream(c)


def test_byte_by_byte(echo):
    c = echo.client()
    for n in range(len(STREAM)):
        c.send(STREAM[n:n + 1])
        echo.sync()
    check_stream(c)


def test_many_connections_at_once(echo):
    clients = [echo.client() for _ in range(200)]
    for n, c in enumerate(clients):
        c.send(f"GET /echo/{n} HTTP/1.1\r\nHost: a\r\n\r\n")
    for n, c in enumerate(clients):
        assert c.reply().json()["path"] == f"/{n}"


# -- what the contract gets --------------------------------------------------------

def test_request_as_the_contract_sees_it(echo):
    c = echo.client()
    c.send("POST /echo/a%20b/c?d=e&f HTTP/1.1\r\nHost: Example.org:80\r\nX-Two: 1\r\nx-two:  2 \r\n"
           "Content-Type: text/plain\r\nContent-Length: 4\r\n\r\nbody")
    r = c.reply().json()
    assert r["contract"] == "echo" and r["method"] == "POST" and r["ip"] == "127.0.0.1"
    assert r["path"] == "/a%20b/c" and r["query"] == "d=e&f" and r["body"] == "body"
    assert r["url"] == "http://Example.org:80/a%20b/c?d=e&f"
    assert r["headers"] == ["host", "Example.org:80", "x-two", "1", "x-two", "2",
                            "content-type", "text/plain", "content-length", "4"]


def test_path_is_at_least_a_slash(echo):
    c = echo.client()
    for target in "/echo", "/echo/", "/echo?a":
        r = c.get(target).json()
        assert r["path"] == "/" and r["url"].startswith("http://a/")
    assert c.get("/echo?").json()["url"] == "http://a/?"


def test_the_connections_own_fields_stay_here(echo):
    c = echo.client()
    r = c.get("/echo", "Connection: X-A, keep-alive", "Keep-Alive: 5", "TE: trailers", "Upgrade: x",
              "Proxy-Connection: close", "A: b")
    assert r.json()["headers"] == ["host", "a", "a", "b"]


def test_absolute_form(echo):
    c = echo.client()
    c.send("GET http://B:8/echo/x?y HTTP/1.1\r\nHost: b:8\r\n\r\n")
    r = c.reply().json()
    assert (r["url"], r["path"]) == ("http://B:8/x?y", "/x")


def test_upgrade_is_ignored(echo):
    c = echo.client()
    ws = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: AA=="]
    assert c.get("/echo", *ws).status == 200
    upgrade = "POST /body HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n"
    c.send(upgrade + "Content-Length: 3\r\n\r\nabc" + upgrade +
           "Transfer-Encoding: chunked\r\n\r\n3\r\ndef\r\n0\r\n\r\n")
    assert c.reply().body == b"abc"
    assert c.reply().body == b"def"
    assert c.get("/echo").status == 200


def test_unroutable_is_404(echo):
    c = echo.client()
    for target in "/", "//echo", "/Echo", "/-a", "/a_b", "/nobody":
        r = c.get(target)
        assert (r.status, r.code) == (404, "not_found")
    c.send("POST /No HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
    assert c.reply().status == 404
    assert c.get("/echo").status == 200


def test_contract_by_host(start):
    e = start(domain="tana.dev")
    c = e.client()
    c.send("GET /x/y HTTP/1.1\r\nHost: Echo.Tana.dev:1\r\n\r\n")
    r = c.reply().json()
    assert (r["contract"], r["path"], r["url"]) == ("echo", "/x/y", "http://Echo.Tana.dev:1/x/y")
    assert c.get("/echo/z").json()["path"] == "/z"
    c.send("GET /echo HTTP/1.1\r\nHost: a.b.tana.dev\r\n\r\n")
    assert c.reply().status == 404


def test_forwarded_address_only_from_who_is_trusted(start):
    e = start(trusted_proxies="192.0.2.0/24")
    c = e.client()
    assert c.get("/echo", "X-Forwarded-For: 1.2.3.4").json()["ip"] == "127.0.0.1"
    e.set("trusted_proxies=127.0.0.0/8")
    assert c.get("/echo", "X-Forwarded-For: 6.6.6.6, 1.2.3.4").json()["ip"] == "1.2.3.4"
    assert c.get("/echo", "X-Forwarded-For: 6.6.6.6, 1.2.3.4",
                 "X-Forwarded-For: 127.0.0.9").json()["ip"] == "1.2.3.4"
    assert c.get("/echo").json()["ip"] == "127.0.0.1"


def test_unix_socket(start):
    with tempfile.TemporaryDirectory() as d:
        path = f"{d}/s"
        e = start("-u", path)
        c = e.client(path)
        assert c.get("/echo", "X-Forwarded-For: 1.2.3.4").json()["ip"] == "unix"
        e.set("trusted_proxies=unix")
        assert c.get("/echo", "X-Forwarded-For: 1.2.3.4").json()["ip"] == "1.2.3.4"


def test_request_id(echo):
    c = echo.client()
    ids = set()
    for _ in range(200):
        r = c.get("/echo")
        assert re.fullmatch(r"[0-9a-f]{32}", r.get("X-Request-Id")) and r.json()["id"] == r.get("X-Request-Id")
        ids.add(r.get("X-Request-Id"))
    assert len(ids) == 200
    assert c.get("/echo", "X-Request-Id: My.Id_1-2").get("X-Request-Id") == "My.Id_1-2"
    for bad in "a b", "a" * 65, "a\"b", "<a>", "":
        assert re.fullmatch(r"[0-9a-f]{32}", c.get("/echo", "X-Request-Id: " + bad).get("X-Request-Id"))


# -- what the client gets --------------------------------------------------------------

def test_head(echo):
    c = echo.client()
    r = c.get("/big?100", method="HEAD")
    assert (r.status, r.get("Content-Length")) == (200, "100")
    assert c.get("/fault/THREW", method="HEAD").status == 500
    assert c.get("/", method="HEAD").status == 404
    assert c.get("/echo").status == 200


def test_every_fault_has_its_answer(echo):
    c = echo.client()
    table = (Path(os.environ["TANA_SOURCE"]) / "common/errors.def").read_text()
    faults = re.findall(r'^TN_FAULT\((\w+),\s+(\d+), "(\w+)",\s+"(.*)"\)$', table, re.M)
    assert len(faults) > 20
    for name, status, code, message in faults:
        r = c.get(f"/fault/{name}", "X-Request-Id: abc")
        assert r.status == int(status)
        assert r.json() == {"error": {"code": code, "message": message, "requestId": "abc"}}
        assert r.get("Allow") == ("GET, HEAD" if status == "405" else None)
        assert r.get("Retry-After") == ("7" if status == "503" else None)


def test_statuses_without_a_body(echo):
    c = echo.client()
    for status in 204, 205, 304:
        r = c.get(f"/status/{status}")
        assert (r.status, r.body) == (status, b"")
    assert c.get("/status/201").body == b"text"


def test_a_contract_cannot_send_any_status(echo):
    c = echo.client()
    for status in 0, 100, 101, 199, 600, 1200, -1:
        assert c.get(f"/status/{status}").code == "invalid_result"


def test_a_contract_cannot_split_the_answer(echo):
    c = echo.client()
    for fields in ("A&b%0d%0aSet-Cookie: x", "A&b%0ac", "A&b%0dc", "A&b%00c", "A%0d%0aB&c", "A: b&c", "&c",
                   "A&b%0d%0a%0d%0aHTTP/1.1 200 OK".replace(" ", "%20")):
        r = c.get("/header?" + fields.replace(" ", "%20"))
        assert (r.status, r.code) == (500, "invalid_result")
        assert r.get("Set-Cookie") is None
    assert c.get("/echo").status == 200


def test_a_contract_cannot_set_the_framing(echo):
    c = echo.client()
    r = c.get("/header?Content-Length&1&transfer-encoding&chunked&Connection&close&Date&x&X-Request-Id&x&"
              "Keep-Alive&x&Trailer&x&Upgrade&x&A&b")
    assert (r.status, r.body, r.get("A")) == (200, b"text", "b")
    for name in "Transfer-Encoding", "Connection", "Keep-Alive", "Trailer", "Upgrade":
        assert r.get(name) is None
    assert c.get("/echo").status == 200


def test_cookies_are_kept_apart(echo):
    r = echo.client().get("/header?Set-Cookie&a=1&Set-Cookie&b=2")
    assert r.all("Set-Cookie") == ["a=1", "b=2"]


def test_reply_max(start):
    e = start(reply_max="1k")
    c = e.client()
    assert c.get("/big?1024").status == 200
    assert c.get("/big?1025").code == "reply_too_large"
    assert c.get("/echo").status == 200


def test_large_reply(echo):
    c = echo.client(rcvbuf=32768)
    c.send("GET /big?3000000 HTTP/1.1\r\nHost: a\r\n\r\nGET /echo HTTP/1.1\r\nHost: a\r\n\r\n")
    r = c.reply()
    assert r.body == b"x" * 3000000
    assert c.reply().status == 200


def test_server_timing(start):
    e = start()
    c = e.client()
    assert c.get("/echo").get("Server-Timing") is None
    e.set("server_timing=on")
    value = c.get("/echo").get("Server-Timing")
    assert re.fullmatch(r"(\w+;dur=\d+\.\d{3}, ){6}total;dur=1\.000", value)


# -- CORS ------------------------------------------------------------------------------------

def test_preflight(echo):
    c = echo.client()
    r = c.get("/echo/a", "Origin: https://b", "Access-Control-Request-Method: PUT",
              "Access-Control-Request-Headers: authorization, x-a", method="OPTIONS")
    assert r.status == 204
    assert r.get("Access-Control-Allow-Origin") == "*"
    assert "PUT" in r.get("Access-Control-Allow-Methods").split(", ")
    assert r.get("Access-Control-Allow-Headers") == "authorization, x-a"
    assert c.get("/echo", method="OPTIONS").get("Access-Control-Allow-Headers") == "*"


def test_preflight_does_not_reflect_just_anything(echo):
    r = echo.client().get("/echo", "Access-Control-Request-Headers: a b", method="OPTIONS")
    assert r.get("Access-Control-Allow-Headers") == "*"


def test_answers_carry_cors_unless_the_contract_does(echo):
    c = echo.client()
    assert c.get("/echo").get("Access-Control-Allow-Origin") == "*"
    assert c.get("/fault/THREW").get("Access-Control-Allow-Origin") == "*"
    r = c.get("/header?access-control-allow-origin&https://b")
    assert r.get("Access-Control-Allow-Origin") == "https://b"


def test_cors_off(start):
    c = start(cors="off").client()
    assert c.get("/echo").get("Access-Control-Allow-Origin") is None
    assert c.get("/", "A: b").get("Access-Control-Allow-Origin") is None
    assert c.get("/echo", method="OPTIONS").json()["method"] == "OPTIONS"


def test_options_for_the_server(echo):
    c = echo.client()
    r = c.get("*", method="OPTIONS")
    assert r.status == 204 and "GET" in r.get("Allow")
    assert c.get("/echo").status == 200


# -- Expect -------------------------------------------------------------------------------------

def test_expect_continue(echo):
    c = echo.client()
    for body in "Content-Length: 3\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n":
        c.send("POST /body HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n" + body)
        assert c.reply().status == 100
        c.send("abc" if "Length" in body else "3\r\nabc\r\n0\r\n\r\n")
        assert c.reply().body == b"abc"


def test_expect_without_need(echo):
    """The body is here already, or there is none."""
    c = echo.client()
    c.send("POST /body HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc")
    assert c.reply().body == b"abc"
    c.send("POST /body HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n")
    assert c.reply().status == 200
    c.send("POST /body HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    echo.sync()
    c.send("abc")
    assert c.reply().body == b"abc"


@pytest.mark.parametrize("target, fields, status", [
    ("/body", "Expect: 100-continue\r\nContent-Length: 2000000\r\n", 413),
    ("/No", "Expect: 100-continue\r\nContent-Length: 3\r\n", 404),
    ("/body", "Expect: something\r\nContent-Length: 3\r\n", 417),
], ids=["too-large", "unroutable", "unknown"])
def test_expect_refused_before_the_body(echo, target, fields, status):
    c = echo.client()
    c.send(f"POST {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
    c.refused(status)


# -- what is refused (every rule: tests/unit/test_sv_http_check.c) ----------------------------------

H = "Host: a\r\n"
REFUSED = {
    "bare-lf": ("GET / HTTP/1.1\n" + H + "\n", 400),
    "folded": ("GET /echo HTTP/1.1\r\n" + H + "A: b\r\n c\r\n\r\n", 400),
    "no-host": ("GET /echo HTTP/1.1\r\n\r\n", 400),
    "two-hosts": ("GET /echo HTTP/1.1\r\n" + H + H + "\r\n", 400),
    "http-0.9": ("GET /echo\r\n\r\n", 400),
    "http-3.7": ("GET /echo HTTP/3.7\r\n" + H + "\r\n", 505),
    "http-2": ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "tls": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "nul": ("GET /echo HTTP/1.1\r\n" + H + "A: \0\r\n\r\n", 400),
    "connect": ("CONNECT a:443 HTTP/1.1\r\n" + H + "\r\n", 501),
    "trace": ("TRACE /echo HTTP/1.1\r\n" + H + "\r\n", 501),
    "unknown-method": ("BREW /echo HTTP/1.1\r\n" + H + "\r\n", 501),
    "dot-dot": ("GET /echo/../stats HTTP/1.1\r\n" + H + "\r\n", 400),
    "gzip": ("POST /echo HTTP/1.1\r\n" + H + "Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
    "header": ("GET /echo HTTP/1.1\r\n" + H + "A: " + "b" * 17000 + "\r\n\r\n", 431),
    "header-no-end": ("GET /echo HTTP/1.1\r\n" + H + "A: " + "b" * 17000, 431),
    "target": ("GET /" + "b" * 8192 + " HTTP/1.1\r\n" + H + "\r\n", 414),
    "target-no-end": ("GET /" + "b" * 10000, 414),
    "body": ("POST /body HTTP/1.1\r\n" + H + "Content-Length: 1048577\r\n\r\n", 413),
    "body-overflow": ("POST /body HTTP/1.1\r\n" + H + "Content-Length: 18446744073709551617\r\n\r\n", 413),
    "chunk": ("POST /body HTTP/1.1\r\n" + H + "Transfer-Encoding: chunked\r\n\r\n100001\r\n", 413),
    "chunk-size": ("POST /body HTTP/1.1\r\n" + H + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 413),
    "chunk-lf": ("POST /body HTTP/1.1\r\n" + H + "Transfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n", 400),
    "trailer": ("POST /body HTTP/1.1\r\n" + H + "Transfer-Encoding: chunked\r\n\r\n0\r\nHost: b\r\n\r\n", 400),
    "trailers-no-end": ("POST /body HTTP/1.1\r\n" + H + "Transfer-Encoding: chunked\r\n\r\n0\r\nA: " + "b" * 17000, 431),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_and_closed(echo, name):
    text, status = REFUSED[name]
    c = echo.client()
    c.send(text)
    c.refused(status)


def test_refused_after_good_ones(echo):
    c = echo.client()
    c.send("GET /echo/1 HTTP/1.1\r\nHost: a\r\n\r\nGET /hold HTTP/1.1\r\nHost: a\r\n\r\nGET\r\n\r\n")
    assert c.reply().json()["path"] == "/1"
    until("it is held", lambda: echo.control.get("/release").body == b"released 1")
    assert c.reply().body == b"held"
    c.refused(400, "bad_request")


HIDDEN = "GET /release HTTP/1.1\r\nHost: a\r\n\r\n"
SMUGGLED = {
    "length-and-chunked": "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked-and-length": "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "blank-before-colon": "Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two-lengths": "Content-Length: 0\r\nContent-Length: 40\r\n\r\n",
    "equal-lengths": "Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "list-of-lengths": "Content-Length: 0, 0\r\n\r\n",
    "signed-length": "Content-Length: +0\r\n\r\n",
    "two-codings": "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "chunked-twice": "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "vertical-tab": "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "folded": "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "lf-before": "A: b\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "cr-before": "A: b\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "nul-before": "\0Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "hexadecimal": "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
    "chunk-lf": "Transfer-Encoding: chunked\r\n\r\n0\n\n",
    "chunk-blank": "Transfer-Encoding: chunked\r\n\r\n0 \r\n\r\n",
    "chunk-longer": "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    "extension-lf": "Transfer-Encoding: chunked\r\n\r\n2;\nxx\r\n0\r\n\r\n",
    "http-1.0": None,
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_nothing_is_smuggled(echo, name):
    """One request is refused, and what could be taken for a second one is not run."""
    before = echo.stats()["requests"]
    c = echo.client()
    if name == "http-1.0":
        c.send("POST /body HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
               "0\r\n\r\n" + HIDDEN)
    else:
        c.send("POST /body HTTP/1.1\r\nHost: a\r\n" + SMUGGLED[name] + HIDDEN)
    c.refused(400, "bad_request")
    assert echo.stats()["requests"] == before + 2	# it, and /stats


def test_trailers_are_dropped(echo):
    c = echo.client()
    c.send("POST /echo HTTP/1.1\r\nHost: a\r\nTrailer: X-A\r\nTransfer-Encoding: chunked\r\n\r\n"
           "2\r\nhi\r\n0\r\nX-A: b\r\n\r\n")
    r = c.reply().json()
    assert (r["body"], r["headers"]) == ("hi", ["host", "a"])
    assert c.get("/echo").status == 200


def test_an_error_reaches_who_is_still_sending(echo):
    """Closing at once would reset the connection, and the answer with it."""
    c = echo.client()
    c.send("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 20000000\r\n\r\n")
    for _ in range(20):
        c.send(b"x" * 1000000)
    c.half_close()
    c.refused(413, "body_too_large")


def test_body_max_counts_all_chunks(start):
    c = start(body_max="10").client()
    chunked = "POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    c.send(chunked + "5\r\nabcde\r\n5\r\nabcde\r\n0\r\n\r\n")
    assert c.reply().body == b"abcdeabcde"
    c.send(chunked + "5\r\nabcde\r\n5\r\nabcde\r\n1\r\n")
    c.refused(413, "body_too_large")


def test_limits_follow_a_reload(start):
    e = start()
    c = e.client()
    assert c.get("/echo?" + "a" * 200).status == 200
    e.set("target_max=128")
    c.send("GET /echo?" + "a" * 200 + " HTTP/1.1\r\nHost: a\r\n\r\n")
    c.refused(414, "uri_too_long")


# -- time ----------------------------------------------------------------------------------------

def test_header_timeout(start):
    c = start(header_timeout_ms=150).client()
    c.send("GET /echo HTTP/1.1\r\n")
    c.refused(408, "request_timeout")


def test_header_timeout_is_not_put_off_by_a_drip(start):
    c = start(header_timeout_ms=300).client()
    c.send("GET /echo HTTP/1.1\r\nA: ")

    def drip():
        c.send("b")
        return select.select([c.s], [], [], 0)[0]
    until("there is an answer", drip)
    c.refused(408, "request_timeout")


def test_header_timeout_of_a_later_request(start):
    c = start(header_timeout_ms=150).client()
    c.send("GET /echo HTTP/1.1\r\nHost: a\r\n\r\nGET /ec")
    assert c.reply().status == 200
    c.refused(408, "request_timeout")


def test_body_timeout(start):
    e = start(body_timeout_ms=150)
    c = e.client()
    c.send("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc")
    c.refused(408, "request_timeout")
    c = e.client()
    c.send("POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab")
    c.refused(408, "request_timeout")


def test_idle_timeout_says_nothing(start):
    e = start(idle_timeout_ms=150)
    fresh, used = e.client(), e.client()
    assert used.get("/echo").status == 200
    assert used.at_end() and fresh.at_end()
    e.control = e.client()
    e.until(requests_4xx=0)


def test_waiting_for_a_contract_is_not_idleness(start):
    e = start(idle_timeout_ms=60, header_timeout_ms=60, body_timeout_ms=60)
    c, other = e.client(), e.client()
    c.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
    assert other.at_end()		# so long has it waited at least
    e.signal(signal.SIGUSR1)
    assert c.reply().body == b"held"


def test_slow_reader(start):
    """Who does not take his answer is cut off."""
    e = start(body_timeout_ms=200)
    c = e.client(rcvbuf=4096)
    c.send("GET /big?8000000 HTTP/1.1\r\nHost: a\r\n\r\n")
    e.until(connections_accepted=2)
    e.until(connections=1)
    with pytest.raises((AssertionError, ConnectionResetError)):
        c.reply()


# -- clients that leave ------------------------------------------------------------------------------

def held(e, address=None):
    c = e.client(address)
    before = e.stats()["requests"]
    c.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
    until("it is held", lambda: e.stats()["requests"] > before + 1)
    return c


def test_half_closed_client_gets_its_answer(start):
    e = start()
    c = held(e)
    c.half_close()
    e.sync()
    e.release()
    assert c.reply().body == b"held"
    assert c.at_end()
    e.until(requests_cancelled=0)


def test_request_and_end_at_once(echo):
    """As `nc -N` does it."""
    c = echo.client()
    c.send("GET /echo/1 HTTP/1.1\r\nHost: a\r\n\r\nGET /echo/2 HTTP/1.1\r\nHost: a\r\n\r\n")
    c.half_close()
    assert c.reply().json()["path"] == "/1"
    assert c.reply().json()["path"] == "/2"
    assert c.at_end()


def test_several_and_the_end_behind_a_slow_one(echo):
    c = echo.client()
    c.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n" + "GET /echo/2 HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
    c.half_close()
    until("it is held", lambda: echo.control.get("/release").body == b"released 1")
    assert c.reply().body == b"held"
    for _ in range(3):
        assert c.reply().json()["path"] == "/2"
    assert c.at_end()


@pytest.mark.parametrize("text", ["GET /ec", "POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab"],
                         ids=["head", "body"])
def test_end_within_a_request(echo, text):
    c = echo.client()
    c.send(text)
    c.half_close()
    c.refused(400, "bad_request")


def test_reset_cancels(start):
    e = start()
    held(e).reset()
    e.until(requests_cancelled=1, connections=1)
    assert e.control.get("/release").body == b"released 0"


def test_close_cancels(start):
    """It looks like a half-closed client until it is spoken to."""
    e = start()
    held(e).close()
    e.until(requests_cancelled=1, connections=1)


def test_half_closed_client_lives_through_being_spoken_to(start):
    e = start()
    c = held(e)
    c.half_close()
    assert c.reply().status == 100
    e.release()
    assert c.reply().body == b"held"
    assert c.at_end()


def test_close_of_a_unix_socket_cancels(start):
    with tempfile.TemporaryDirectory() as d:
        e = start("-u", f"{d}/s")
        held(e, f"{d}/s").close()
        e.until(requests_cancelled=1, connections=1)
        c = held(e, f"{d}/s")
        c.half_close()
        e.sync()
        e.release()
        assert c.reply().body == b"held"


def test_reset_behind_a_full_buffer(start):
    """Nothing is read any more, and still it is noticed."""
    e = start()
    c = held(e)
    c.send("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n" * 5000)
    e.sync()
    c.reset()
    e.until(requests_cancelled=1, connections=1)


# -- too many ----------------------------------------------------------------------------------------

def test_connections_max(start):
    e = start(connections_max=3)
    a, b = e.client(), e.client()
    assert a.get("/echo").status == b.get("/echo").status == 200
    for n in range(5):
        r = e.client().refused(503, "overloaded")
        assert r.get("Retry-After") == "1"
    assert e.stats()["connections_refused"] == 5
    assert a.get("/echo").status == 200
    b.close()
    e.until(connections=2)
    assert e.client().get("/echo").status == 200


def test_refused_client_that_sends_reads_the_reason(start):
    e = start(connections_max=1)
    for _ in range(20):
        c = e.client()
        c.send("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n")
        c.refused(503)


def test_no_descriptor_left(start):
    e = start("-n", "24")
    clients = []
    while True:
        c = e.client()
        c.send("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n")
        r = c.reply()
        if r.status == 503:
            break
        assert r.status == 200 and len(clients) < 24
        clients.append(c)
    assert len(clients) > 5
    for n in range(10):
        c = e.client()
        c.refused(503, "overloaded")
    for c in clients:
        assert c.get("/echo").status == 200
    assert e.stats()["connections_refused"] == 11	# each once: it does not spin
    for c in clients:
        c.close()
    e.until(connections=1)
    assert e.client().get("/echo").status == 200


# -- the end -------------------------------------------------------------------------------------------

def test_drain(start):
    e = start()
    idle = e.client()
    assert idle.get("/echo").status == 200
    c = held(e)
    e.signal(signal.SIGTERM)
    assert idle.at_end()
    with pytest.raises(ConnectionRefusedError):
        e.client()
    e.signal(signal.SIGUSR1)
    r = c.reply()
    assert r.body == b"held" and r.get("Connection") == "close"
    assert c.at_end()
    c.close()
    assert e.proc.stdout.readline() == "drained\n"
    assert e.wait() == 0


def test_drain_lets_a_request_that_has_begun_arrive(start):
    e = start()
    c, body = e.client(), e.client()
    c.send("GET /echo/x HT")
    body.send("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
    e.sync()
    e.signal(signal.SIGTERM)
    assert e.control.at_end()
    c.send("TP/1.1\r\nHost: a\r\n\r\n")
    body.send("cd")
    for r, text in (c.reply(), b'"/x"'), (body.reply(), b"abcd"):
        assert text in r.body and r.get("Connection") == "close"
    c.close()
    body.close()
    assert e.wait() == 0


def test_drain_without_connections(start):
    e = start()
    e.control.close()
    e.signal(signal.SIGTERM)
    assert e.proc.stdout.readline() == "drained\n"
    assert e.wait() == 0


# -- what is written down ----------------------------------------------------------------------------------

def test_log_record(start):
    e = start()
    e.client().get("/echo/p?secret=1", "X-Request-Id: id-1")
    e.client().send("BREW / HTTP/1.1\r\nHost: a\r\n\r\n")
    until("both are logged", lambda: e.log_text().count(" request ") == 2)
    one, two = (line for line in e.log_text().splitlines() if " request " in line)
    assert re.search(r"method=GET contract=echo status=200 duration=1\.000ms queue=\S+ heap=\S+ compile=\S+ "
                     r"bootstrap=\S+ exec=\S+ result=\S+ request_id=id-1 ip=127\.0\.0\.1 path=/p$", one)
    assert "secret" not in one
    assert re.search(r"method=BREW status=501 error=not_implemented request_id=[0-9a-f]{32} ip=127\.0\.0\.1", two)


def test_log_requests_off(start):
    e = start(log_requests="off")
    e.client().get("/echo")
    assert " request " not in e.log_text()


def test_counters(start):
    e = start()
    c = e.client()
    for target in "/status/200", "/status/302", "/status/404", "/", "/fault/THREW":
        c.get(target)
    c.send("junk\r\n\r\n")
    c.refused(400)
    s = e.stats()
    assert s["requests"] == 7 and s["connections_accepted"] == 2
    assert (s["requests_2xx"], s["requests_3xx"], s["requests_4xx"], s["requests_5xx"]) == (1, 1, 3, 1)
    assert s["timed"] == 5		# not the junk, nor the one that is being answered
