"""The client socket: MessagePack-RPC for programs of this machine.

Once by hand, with msgpack alone, so that every byte can be wrong; and once with
a library that was not made for it (pynvim's).
"""

import asyncio
import json
import os
import pwd
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time

import msgpack
import pytest
from conftest import BUILD, PATIENCE, ROOT, SANITIZED, until

CONTRACTS = {
    "echo": {"contract.js": """
var context = require('tana/context').context, block = require('tana/block').block;
function show(req) {
	var headers = {};
	req.headers.forEach(function (value, name) { headers[name] = value; });
	return { method: req.method, url: req.url, path: req.path, query: req.query, headers: headers,
	    body: req.body, ip: req.ip, caller: req.tana.caller, height: block.height, hash: block.hash };
}
function who(name) {
	return { function: name, caller: context.caller(), owner: context.owner(), input: context.input(),
	    height: context.block().height, gas: context.block().gasLimit };
}
exports.get = show;
exports.post = show;
exports.init = function () { return who('init'); };
exports.contract = function () { return who('contract'); };
""", "contract.json": '{"author": "eva"}'},
    "slow": {"get.js": """
exports.get = function (req) {
	return new Promise(function (resolve) {
		setTimeout(function () { resolve({ slept: req.query.ms }); }, Number(req.query.ms));
	});
};
"""},
    "reply": {"get.js": """
var Response = require('tana/net').Response;
exports.get = function (req) {
	var h = { 'content-type': 'text/plain', 'x-own': 'yes', 'connection': 'close', 'content-length': '3' };
	if (req.query.bytes)
		return new Response(new Uint8Array([0, 255, 128]), { headers: h });
	if (req.query.big)
		return new Response(new Uint8Array(Number(req.query.big)), { headers: h });
	return new Response(Number(req.query.status || 200) === 204 ? null : 'text', { status: Number(req.query.status || 200), headers: h });
};
"""},
    "throws": {"get.js": "exports.get = function () { throw new Error('no'); };"},
    "dies": {"get.js": "exports.get = function () { return 1; };"},
    "loops": {"get.js": "exports.get = function () { for (;;) ; };"},
}


class RpcError(Exception):
    @property
    def code(self):
        return self.args[0]


class Client:
    def __init__(self, server):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(server.run_dir / "tana.sock"))
        self.unpacker = msgpack.Unpacker(max_buffer_size=0)
        self.next_id = 0
        self.answers = {}
        self.notices = []

    def send(self, *messages):
        self.sock.sendall(b"".join(m if isinstance(m, bytes) else msgpack.packb(m) for m in messages))

    def begin(self, method, *params):
        self.next_id += 1
        self.send([0, self.next_id, method, list(params)])
        return self.next_id

    def read(self):
        """One message more; None at the end."""
        for m in self.unpacker:
            if m[0] == 1:
                self.answers[m[1]] = m
            else:
                self.notices.append(m[1:])
            return m
        data = self.sock.recv(65536)
        if not data:
            return None
        self.unpacker.feed(data)
        return self.read()

    def finish(self, id):
        while id not in self.answers:
            assert self.read() is not None, f"no answer to {id}: {self.notices}"
        m = self.answers.pop(id)
        if m[2] is not None:
            raise RpcError(*m[2])
        return m[3]

    def call(self, method, *params):
        return self.finish(self.begin(method, *params))

    def invoke(self, contract=None, **fields):
        if contract is not None:
            fields["contract"] = contract
        return self.call("invoke", fields)

    def at_end(self):
        try:
            while self.read() is not None:
                pass
        except ConnectionResetError:
            pass
        return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()


def value(result):
    return json.loads(result["body"])


def code(result):
    return value(result)["error"]["code"]


def header(result, name):
    return [v for n, v in result["headers"] if n == name]


@pytest.fixture(scope="module")
def server(start_module):
    return start_module(CONTRACTS, workers_min=2, workers_max=4, deadline_ms=3000 if not SANITIZED else 10000,
                        log_format="json")


@pytest.fixture
def client(server):
    with Client(server) as c:
        yield c


# -- the socket -------------------------------------------------------------------------

def test_the_socket_is_for_user_and_group(server):
    st = (server.run_dir / "tana.sock").stat()
    assert stat.S_ISSOCK(st.st_mode) and st.st_mode & 0o777 == 0o660
    if ROOT:
        user = pwd.getpwnam(server.options.get("user", "www-data"))
        assert (st.st_uid, st.st_gid) == (user.pw_uid, user.pw_gid)


def test_the_socket_goes_with_the_server(start):
    s = start(CONTRACTS)
    assert s.stop() == 0
    assert not (s.run_dir / "tana.sock").exists()


def test_the_socket_outlives_a_front_that_dies(start):
    s = start(CONTRACTS)
    with Client(s) as c:
        assert c.call("ping") == "pong"
        os.kill(s.front_pid(), signal.SIGKILL)
        assert c.at_end()
    with Client(s) as c:		# it waits in the backlog for the next front
        assert c.invoke("echo")["status"] == 200


# -- hello, ping ----------------------------------------------------------------------------

def test_hello(client, server):
    h = client.call("hello", {"client": "test", "version": "1.0", "later": True})
    assert h["version"] == "1.0" and h["server"].startswith("tana-edge ")
    assert sorted(h["methods"]) == ["cancel", "hello", "invoke", "ping"]
    assert h["limits"]["body_max"] == 1 << 20 and h["limits"]["calls_max"] == 256
    assert client.call("hello") == h == client.call("hello", {}) == client.call("hello", {"version": 1})
    assert client.call("hello", {"version": "1.7"}) == h
    assert client.call("ping") == "pong"


@pytest.mark.parametrize("params, code", [
    ([{"version": "2.0"}], "version"),
    ([{"version": 2}], "version"),
    ([{"version": 0}], "version"),
    ([{"version": "one"}], "invalid_params"),
    ([{"version": "1."}], "invalid_params"),
    ([{"version": ""}], "invalid_params"),
    ([{"version": "1.x"}], "invalid_params"),
    ([{"version": "99999999999999999999"}], "invalid_params"),
    ([{"version": -1}], "invalid_params"),
    ([{"client": 1}], "invalid_params"),
    ([{1: 1}], "invalid_params"),
    ([1], "invalid_params"),
    ([{}, {}], "invalid_params"),
])
def test_hello_refuses(client, params, code):
    with pytest.raises(RpcError) as e:
        client.call("hello", *params)
    assert e.value.code == code
    assert client.call("ping") == "pong"


# -- invoke ------------------------------------------------------------------------------------

def test_invoke_with_every_field(client, server):
    r = client.invoke("echo", method="POST", path="/a/b", query="x=1&y=%20", body=b'{"k":[1]}',
                      headers={"Content-Type": "application/json", "Host": "example.org", "X-Request-Id": "mine-1",
                               "Connection": "close", "Content-Length": "77"},
                      caller={"id": 7}, block={"height": 12, "hash": "0xab"})
    assert r["status"] == 200 and header(r, "content-type") == ["application/json"]
    assert isinstance(r["body"], bytes)
    assert value(r) == {
        "method": "POST", "url": "http://example.org/a/b?x=1&y=%20", "path": "/a/b", "query": {"x": "1", "y": " "},
        "headers": {"content-type": "application/json", "host": "example.org", "x-request-id": "mine-1"},
        "body": {"k": [1]}, "ip": "unix", "caller": {"id": 7}, "height": 12, "hash": "0xab"}
    assert r["request_id"] == "mine-1"
    t = r["timings"]
    assert set(t) == {"queue", "heap", "compile", "bootstrap", "exec", "result", "total"}
    assert all(isinstance(v, int) and v >= 0 for v in t.values()) and t["total"] >= t["exec"]
    record = json.loads(server.wait_log('"event":"request"', "mine-1")[0])
    assert record["contract"] == "echo" and record["status"] == 200 and record["ip"] == "unix"
    assert record["path"] == "/a/b" and record["method"] == "POST"


def test_invoke_with_no_field_but_the_contract(client):
    r = client.invoke("echo")
    v = value(r)
    assert (v["method"], v["path"], v["url"], v["query"], v["headers"]) == ("GET", "/", "http://localhost/", {}, {})
    assert (v["body"], v["caller"], v["height"]) == (None, None, 0)
    assert re.fullmatch("[0-9a-f]{32}", r["request_id"])
    # nil is as if it were not there.
    assert value(client.invoke("echo", function=None, method=None, path=None, query=None, headers=None, body=None,
                               caller=None, block=None, input=None)) == v


def test_functions(client):
    for f, method in (("get", "GET"), ("post", "POST")):
        assert value(client.invoke("echo", function=f))["method"] == method
    assert value(client.invoke("echo", function="get", method="PUT"))["method"] == "PUT"
    everything = {"caller": "anna", "input": [1, {"two": 2.5}, None], "block": {"height": 3, "gasLimit": 9}}
    assert value(client.invoke("echo", function="contract", **everything)) == {
        "function": "contract", "caller": "anna", "owner": "eva", "input": [1, {"two": 2.5}, None],
        "height": 3, "gas": 9}
    assert value(client.invoke("echo", function="init", **everything)) == {
        "function": "init", "caller": None, "owner": "eva", "input": None, "height": 3, "gas": 9}
    r = client.invoke("echo", function="contract", body='{"from":"body"}', headers=[["content-type", "application/json"]])
    assert value(r)["input"] == {"from": "body"}
    r = client.invoke("echo", function="contract", body='{"from":"body"}', input=None)
    assert value(r)["input"] is None


def test_values_arrive_as_they_were(client):
    for v in (None, True, False, 0, -1, 2**53, -2**53, 0.1, -1e300, "", "\0\x1b\"\\\u2028\U0001f600", [], {}, [[]],
              {"": {"__proto__": 1}}, {"constructor": None}):
        r = client.invoke("echo", function="contract", input=v, caller=v)
        assert value(r)["input"] == v and value(r)["caller"] == v, v


def test_one_requests_caller_is_not_the_next_ones(client):
    for i in range(20):
        assert value(client.invoke("echo", caller={"n": i}))["caller"] == {"n": i}
        assert value(client.invoke("echo"))["caller"] is None


def test_bodies_and_replies(client):
    assert value(client.invoke("echo", method="POST", body="text"))["body"] == "text"
    assert value(client.invoke("echo", method="POST", body=b""))["body"] is None
    r = client.invoke("reply", query="bytes=1")
    assert r["body"] == b"\x00\xff\x80"
    # What is the server's to say over HTTP, or about the framing, is left out.
    assert dict(r["headers"]) == {"content-type": "text/plain", "x-own": "yes"}
    assert client.invoke("reply")["body"] == b"text"
    assert client.invoke("reply", method="HEAD")["body"] == b""
    assert client.invoke("reply", query="status=404")["status"] == 404
    r = client.invoke("reply", query="status=204")
    assert (r["status"], r["body"]) == (204, b"")
    assert len(client.invoke("reply", query="big=3000000")["body"]) == 3000000


def test_faults_are_results_as_over_http(client, server):
    def same(status, wanted, **fields):
        r = client.invoke(**fields)
        assert (r["status"], code(r)) == (status, wanted), r
        assert value(r)["error"]["requestId"] == r["request_id"]
        assert header(r, "content-type") == ["application/json"]
        return r

    for id in ("none", "No", "-a", "", "a" * 64, "../echo", "a\0b"):
        same(404, "not_found", contract=id)
    assert header(same(405, "method_not_allowed", contract="slow", method="POST"), "allow") == \
        [server.post("/slow").headers["Allow"]]
    same(405, "method_not_allowed", contract="slow", function="contract")
    same(405, "method_not_allowed", contract="slow", function="fetch")
    same(500, "contract_error", contract="throws")
    same(504, "deadline_exceeded", contract="loops")
    same(501, "not_implemented", contract="echo", method="TRACE")
    same(501, "not_implemented", contract="echo", method="brew")
    same(400, "invalid_json", contract="echo", method="POST", body="{", headers={"content-type": "application/json"})
    same(413, "body_too_large", contract="echo", method="POST", body=b"x" * ((1 << 20) + 1))
    same(414, "uri_too_long", contract="echo", path="/" + "a" * 9000)
    same(414, "uri_too_long", contract="echo", query="a" * 9000)
    same(431, "headers_too_large", contract="echo", headers={"x-long": "a" * 20000})
    same(431, "headers_too_large", contract="echo", headers=[["x", "y"]] * 101)
    assert client.call("ping") == "pong"


def deep(n):
    v = 1
    for _ in range(n):
        v = [v]
    return v


@pytest.mark.parametrize("params, words", [
    ([], "one map"),
    ([1], "one map"),
    ([{"contract": "echo"}, {}], "one map"),
    ([{}], "contract is missing"),
    ([{"contract": None}], "contract is missing"),
    ([{"contract": 1}], "contract"),
    ([{"contract": b"echo"}], "contract"),
    ([{"contract": "echo", "calller": 1}], 'unknown field "calller"'),
    ([{"contract": "echo", "client": 1}], 'unknown field "client"'),
    ([{"contract": "echo", "\x1b[31m": 1}], 'unknown field "\\u001b[31m"'),
    ([{"contract": "echo", 1: 1}], "name is not a text"),
    ([{"contract": "echo", "function": "delete"}], "function"),
    ([{"contract": "echo", "function": ""}], "function"),
    ([{"contract": "echo", "function": 1}], "function"),
    ([{"contract": "echo", "method": ""}], "method"),
    ([{"contract": "echo", "method": "G T"}], "method"),
    ([{"contract": "echo", "method": b"GET"}], "method"),
    ([{"contract": "echo", "path": ""}], "path"),
    ([{"contract": "echo", "path": "a"}], "path"),
    ([{"contract": "echo", "path": "/../a"}], "path"),
    ([{"contract": "echo", "path": "/%2e%2E/a"}], "path"),
    ([{"contract": "echo", "path": "/%0"}], "path"),
    ([{"contract": "echo", "path": "/a b"}], "path"),
    ([{"contract": "echo", "path": "/a\r\nb"}], "path"),
    ([{"contract": "echo", "path": "/a?b"}], "path"),
    ([{"contract": "echo", "path": 1}], "path"),
    ([{"contract": "echo", "query": "a b"}], "query"),
    ([{"contract": "echo", "query": "a#b"}], "query"),
    ([{"contract": "echo", "query": {}}], "query"),
    ([{"contract": "echo", "headers": "x: y"}], "headers"),
    ([{"contract": "echo", "headers": {"x": 1}}], "headers"),
    ([{"contract": "echo", "headers": {1: "x"}}], "headers"),
    ([{"contract": "echo", "headers": {"a b": "x"}}], "headers"),
    ([{"contract": "echo", "headers": {"": "x"}}], "headers"),
    ([{"contract": "echo", "headers": {"x": "a\r\nb: c"}}], "headers"),
    ([{"contract": "echo", "headers": {"host": "a b"}}], "headers: host"),
    ([{"contract": "echo", "headers": [["x"]]}], "headers"),
    ([{"contract": "echo", "headers": [["x", "y", "z"]]}], "headers"),
    ([{"contract": "echo", "headers": ["x", "y"]}], "headers"),
    ([{"contract": "echo", "body": {}}], "body"),
    ([{"contract": "echo", "body": 1}], "body"),
    ([{"contract": "echo", "block": 1}], "block is not a map"),
    ([{"contract": "echo", "block": []}], "block is not a map"),
    ([{"contract": "echo", "block": {"hash": "x" * 20000}}], "block is too large"),
    ([{"contract": "echo", "caller": "x" * 20000}], "caller is too large"),
    ([{"contract": "echo", "caller": 2**53 + 1}], "caller has a whole number"),
    ([{"contract": "echo", "caller": -2**53 - 1}], "caller has a whole number"),
    ([{"contract": "echo", "caller": float("nan")}], "caller has a number"),
    ([{"contract": "echo", "caller": [float("inf")]}], "caller has a number"),
    ([{"contract": "echo", "input": {"a": b"bytes"}}], "input has bytes"),
    ([{"contract": "echo", "input": {1: 2}}], "input has a map"),
    ([{"contract": "echo", "input": "x" * 300000}], "input is too large"),
    ([{"contract": "echo", "input": "\x01" * 60000}], "input is too large"),
])
def test_wrong_parameters_are_named(client, params, words):
    with pytest.raises(RpcError) as e:
        client.call("invoke", *params)
    assert e.value.code == "invalid_params" and words in e.value.args[1]
    assert client.call("ping") == "pong"


def test_wrong_bytes_in_texts(client):
    def call(field, raw):
        client.next_id += 1
        packed = msgpack.packb({"contract": "echo", field: "@"}).replace(b"\xa1@", bytes([0xa0 + len(raw)]) + raw)
        client.send(b"\x94\x00" + msgpack.packb(client.next_id) + msgpack.packb("invoke") + b"\x91" + packed)
        with pytest.raises(RpcError) as e:
            client.finish(client.next_id)
        assert e.value.code == "invalid_params" and field in e.value.args[1]

    call("caller", b"\xff")
    call("path", b"/\xff")
    call("query", b"\xc3")
    assert client.call("ping") == "pong"


def test_a_field_given_twice(client):
    client.send(b"\x94\x00\x63" + msgpack.packb("invoke") + b"\x91\x82" +
                (msgpack.packb("contract") + msgpack.packb("echo")) * 2)
    with pytest.raises(RpcError) as e:
        client.finish(0x63)
    assert "contract is given twice" in e.value.args[1]


def test_unknown_methods(client):
    for m in ("", "invoke2", "x" * 5000, "Invoke", "status", "stop"):
        with pytest.raises(RpcError) as e:
            client.call(m)
        assert e.value.code == "unknown_method"
    client.send([2, "whatever", []], [2, b"nvim_set_client_info", ["x", {}]])
    assert client.call("ping") == "pong"


# -- what is no message --------------------------------------------------------------------------

@pytest.mark.parametrize("data, code", [
    (b"\xc1", "malformed"),
    (b"GET / HTTP/1.1\r\n\r\n", "malformed"),
    (b"\x90", "malformed"),
    (b"\x91\x00", "malformed"),
    (msgpack.packb([3, 1, "ping", []]), "malformed"),
    (msgpack.packb([1, 1, None, 1]), "malformed"),
    (msgpack.packb([0, -1, "ping", []]), "malformed"),
    (msgpack.packb([0, "1", "ping", []]), "malformed"),
    (msgpack.packb([2, "ping", {}]), "malformed"),
    (b"\xdd\xff\xff\xff\xff", "too_large"),
    (b"\x93\x02\xdb\xff\xff\xff\xff", "too_large"),
])
def test_what_cannot_be_understood_ends_the_connection(server, data, code):
    with Client(server) as c:
        c.send(data)
        assert c.at_end()
        assert [n[0] for n in c.notices] == ["error"] and c.notices[0][1][0][0] == code
    assert server.get("/echo").status == 200


@pytest.mark.parametrize("id", [1, 200, 70000, 2**40])
def test_the_call_that_is_beyond_a_limit_has_an_answer(server, id):
    for rest in (msgpack.packb("invoke") + b"\x91\xc6\xff\xff\xff\xff",		# 4 GB of bytes
                 msgpack.packb("invoke") + msgpack.packb([{"contract": "echo", "input": deep(25)}]),
                 msgpack.packb("invoke") + b"\xdd\x00\x02\x00\x00"):		# 128k values
        with Client(server) as c:
            c.send(b"\x94\x00" + msgpack.packb(id) + rest)
            assert c.at_end()
            assert c.answers[id][2][0] == "too_large"
    with Client(server) as c:
        c.send([0, id, 17, []])
        assert c.at_end()
        assert c.answers[id][2][0] == "malformed"


def test_depth_that_is_allowed(client):
    assert value(client.invoke("echo", function="contract", input=deep(20)))["input"] == deep(20)


def test_a_message_in_pieces(client):
    message = msgpack.packb([0, 7, "invoke", [{"contract": "echo", "method": "POST", "body": "x" * 300}]])
    for i in range(len(message)):
        client.send(message[i:i + 1])
    assert value(client.finish(7))["body"] == "x" * 300


def test_a_body_of_the_largest_size_arrives(client):
    r = client.invoke("echo", method="POST", body=b"x" * (1 << 20))
    assert r["status"] == 200 and len(value(r)["body"]) == 1 << 20


# -- many at a time -----------------------------------------------------------------------------

def test_answers_come_when_they_are_ready(client):
    slow = client.begin("invoke", {"contract": "slow", "query": "ms=700"})
    quick = [client.begin("invoke", {"contract": "echo", "path": f"/{i}"}) for i in range(10)]
    for i, id in enumerate(quick):
        assert value(client.finish(id))["path"] == f"/{i}"
    assert slow not in client.answers
    assert value(client.finish(slow)) == {"slept": "700"}


def test_more_calls_than_may_wait_are_read_later(start):
    s = start(CONTRACTS, workers_min=2, client_calls_max=4, queue_max=4)
    with Client(s) as c:
        n = 300
        t = threading.Thread(target=lambda: c.send(*([0, i, "invoke", [{"contract": "echo", "path": f"/{i}"}]]
                                                     for i in range(n))))
        t.start()
        got = [value(c.finish(i))["path"] for i in range(n)]
        t.join()
        assert got == [f"/{i}" for i in range(n)]		# none is refused for queue_max


def test_requests_are_counted(server, client):
    before = server.stats()
    client.invoke("echo")
    client.invoke("none")
    with pytest.raises(RpcError):
        client.invoke("echo", path="")
    after = server.stats()

    def more(name):
        return after[name] - before[name]
    assert (more("requests"), more("requests_2xx"), more("requests_4xx")) == (3, 1, 2)
    assert after["clients"] >= 1 and after["phases"]["total"]["count"] - before["phases"]["total"]["count"] == 2


def test_an_id_in_use(client):
    client.send([0, 9, "invoke", [{"contract": "slow", "query": "ms=500"}]],
                [0, 9, "invoke", [{"contract": "echo"}]])
    with pytest.raises(RpcError) as e:
        client.finish(9)
    assert e.value.code == "id_in_use"
    assert value(client.finish(9)) == {"slept": "500"}
    assert client.invoke("echo")["status"] == 200


def test_a_notification_runs_unheard(client, server):
    client.send([2, "invoke", [{"contract": "echo", "path": "/unheard", "headers": {"x-request-id": "unheard"}}]])
    server.wait_log('"event":"request"', "unheard")
    client.send([2, "invoke", [{"contract": "echo", "path": ""}]], [2, "ping", []], [2, "hello", []])
    assert client.call("ping") == "pong"
    assert client.answers == {} and client.notices == []


# -- giving up -------------------------------------------------------------------------------------

def cancelled(server):
    return server.stats()["requests_cancelled"]


def test_cancel(client, server):
    before = cancelled(server)
    id = client.begin("invoke", {"contract": "slow", "query": "ms=1500"})
    assert client.call("cancel", id) is True
    with pytest.raises(RpcError) as e:
        client.finish(id)
    assert e.value.code == "cancelled"
    assert client.call("cancel", id) is False
    assert cancelled(server) == before + 1
    second = client.begin("invoke", {"contract": "slow", "query": "ms=1500"})
    client.send([2, "cancel", [second]])
    with pytest.raises(RpcError):
        client.finish(second)
    for wrong in ([], [1, 2], ["1"], [-1], [None]):
        with pytest.raises(RpcError) as e:
            client.call("cancel", *wrong)
        assert e.value.code == "invalid_params"
    # The id is free again.
    client.send([0, id, "invoke", [{"contract": "echo"}]])
    assert client.finish(id)["status"] == 200


def test_cancel_is_for_ones_own_calls(client, server):
    id = client.begin("invoke", {"contract": "slow", "query": "ms=500"})
    with Client(server) as other:
        assert other.call("cancel", id) is False
    assert value(client.finish(id)) == {"slept": "500"}


def test_who_leaves_takes_his_calls_along(server):
    before = cancelled(server)
    with Client(server) as c:
        for _ in range(5):
            c.begin("invoke", {"contract": "slow", "query": "ms=1500"})
        assert c.call("ping") == "pong"
    until("they are cancelled", lambda: cancelled(server) == before + 5)


def test_who_leaves_while_he_is_not_read_takes_his_calls_along(start):
    s = start(CONTRACTS, client_calls_max=2, deadline_ms=30000)
    with Client(s) as c:
        for _ in range(5):
            c.begin("invoke", {"contract": "slow", "query": "ms=20000"})
        until("two are running", lambda: s.stats()["requests_running"] == 2)
    until("they are cancelled", lambda: cancelled(s) == 2)


def test_who_closes_only_his_side_has_his_answers(server):
    with Client(server) as c:
        ids = [c.begin("invoke", {"contract": "slow", "query": f"ms={ms}"}) for ms in (300, 200, 100)]
        c.sock.shutdown(socket.SHUT_WR)
        assert [value(c.finish(id)) for id in ids] == [{"slept": "300"}, {"slept": "200"}, {"slept": "100"}]
        assert c.at_end()


def test_half_a_message_and_the_end(server):
    with Client(server) as c:
        c.send(b"\x94\x00\x01\xa4pi")
        c.sock.shutdown(socket.SHUT_WR)
        assert c.at_end() and not c.answers


# -- not reading ---------------------------------------------------------------------------------------

def test_who_does_not_read_is_not_read(start):
    """Answers of 1 MB: a few fill what may be unread, and the rest of the calls has to wait."""
    s = start(CONTRACTS, client_calls_max=2)
    with Client(s) as c:
        n = 40
        for i in range(n):
            c.send([0, i, "invoke", [{"contract": "reply", "query": "big=1000000"}]])
        until("no more are served", lambda: s.stats()["requests"] > 2)
        time.sleep(0.5)
        assert s.stats()["requests"] < n / 2
        assert s.get("/echo").status == 200
        for i in range(n):
            assert len(c.finish(i)["body"]) == 1000000


def test_who_never_reads_is_dropped(start):
    s = start(CONTRACTS, body_timeout_ms=500)
    with Client(s) as c:
        for i in range(20):
            c.send([0, i, "invoke", [{"contract": "reply", "query": "big=1000000"}]])
        s.wait_log("client dropped", "does not read")
        until("it is gone", lambda: s.stats()["clients"] == 0)
    assert s.get("/echo").status == 200


def test_more_unread_than_can_be_kept(start):
    s = start(CONTRACTS, workers_min=4)
    with Client(s) as c:
        for i in range(30):		# all are taken before the first answer
            c.send([0, i, "invoke", [{"contract": "reply", "query": "big=6000000"}]])
        s.wait_log("client dropped", "does not read")
    assert s.get("/echo").status == 200


def test_more_clients_than_there_may_be(start):
    s = start(CONTRACTS, clients_max=2)
    with Client(s) as a, Client(s) as b:
        assert a.call("ping") == b.call("ping") == "pong"
        with Client(s) as c:
            assert c.at_end()
            assert c.notices[0][1][0][0] == "too_many_clients"
        assert s.stats()["clients_refused"] == 1
    until("there is room", lambda: s.stats()["clients"] == 0)
    with Client(s) as c:
        assert c.call("ping") == "pong"


# -- reload, drain ------------------------------------------------------------------------------------

def test_reload_leaves_clients_alone(start):
    s = start(CONTRACTS)
    with Client(s) as c:
        id = c.begin("invoke", {"contract": "slow", "query": "ms=300"})
        s.ctl("reload")
        s.ctl("recycle", "--all")
        assert value(c.finish(id)) == {"slept": "300"}
        assert c.invoke("echo")["status"] == 200 and c.notices == []


def test_drain_finishes_calls_and_says_so(start):
    s = start(CONTRACTS, deadline_ms=20000)
    with Client(s) as c, Client(s) as idle:
        assert idle.call("ping") == "pong"
        slow = c.begin("invoke", {"contract": "slow", "query": "ms=2500"})
        assert c.call("ping") == "pong"
        s.send_signal(signal.SIGTERM)
        assert c.read()[1] == "draining"
        # Who has not read the notice yet is served a little longer.
        assert c.invoke("echo")["status"] == 200
        assert idle.at_end() and idle.notices == [["draining", []]]
        late = c.invoke("echo")
        assert (late["status"], code(late), header(late, "retry-after")) == (503, "draining", ["1"])
        assert value(c.finish(slow)) == {"slept": "2500"}
        assert c.at_end()
    assert s.wait() == 0


# -- the examples of tana-frames(7) -------------------------------------------------------------------

def example(server, *args):
    program = BUILD / "tests/client_example"
    assert program.exists(), f"{program} is not built (make check builds it)"
    return subprocess.run([program, server.run_dir / "tana.sock", *args], capture_output=True, text=True,
                          timeout=PATIENCE, check=False)


def test_the_example_in_c(server):
    done = example(server, "echo", "/a/b")
    assert done.returncode == 0 and done.stderr == ""
    status, body = done.stdout.split("\n", 1)
    assert status == "200" and json.loads(body)["path"] == "/a/b" and json.loads(body)["caller"] == "client_example"
    done = example(server, "none")
    assert done.returncode == 0 and done.stdout.startswith("404\n")
    done = example(server, "echo", "no-slash")
    assert done.returncode == 1 and "invalid_params" in done.stderr
    assert example(server).returncode == 2


def test_the_example_in_python(server):
    page = (BUILD / "supervisor/tana-frames.7").read_text()
    text = page.split(".Bd -literal -offset indent\n")[1].split(".Ed")[0]
    text = text.replace("/run/tana-edge", str(server.run_dir)).replace('"hello"', '"reply"')
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.stdout == "(200, b'text')\n", done.stderr


# -- pynvim: a client library for another server -------------------------------------------------------

@pytest.fixture
def session(server):
    pynvim = pytest.importorskip("pynvim.msgpack_rpc", reason="no python3-pynvim")
    asyncio.set_event_loop(asyncio.new_event_loop())
    s = pynvim.socket_session(str(server.run_dir / "tana.sock"))

    class Failed(Exception):
        pass
    s.error_wrapper = lambda e: Failed(*e)
    s.Failed = Failed
    yield s
    s.close()


def test_pynvim_calls(session):
    h = session.request("hello", {"client": "pynvim", "version": "1.0"})
    assert h["version"] == "1.0"
    r = session.request("invoke", {"contract": "echo", "method": "POST", "path": "/a", "body": "text",
                                   "caller": {"name": "anna"}})
    assert r["status"] == 200
    v = json.loads(r["body"])
    assert (v["path"], v["body"], v["caller"]) == ("/a", "text", {"name": "anna"})
    assert session.request("invoke", {"contract": "none"})["status"] == 404
    with pytest.raises(session.Failed) as e:
        session.request("invoke", {"contract": "echo", "path": "no"})
    assert e.value.args[0] == "invalid_params"
    assert session.request("ping") == "pong"


def test_pynvim_pipelines(session):
    n, got, order = 200, {}, []
    a = session._async_session

    def on_answer(i):
        def answered(error, result):
            assert error is None
            got[i] = json.loads(result["body"])
            order.append(i)
            if len(got) == n:
                a.stop()
        return answered

    for i in range(n):
        a.request("invoke", [{"contract": "slow", "query": "ms=400"} if i == 0 else
                             {"contract": "echo", "path": f"/{i}"}], on_answer(i))
    a.run(None, None)
    assert got[0] == {"slept": "400"} and all(got[i]["path"] == f"/{i}" for i in range(1, n))
    assert order[0] != 0		# the slow one, sent first, was overtaken
