"""The zygote and its workers, without server and sandbox: what each frame
does, and that no contract gets further than its own request."""

import json
import os
import signal
import socket
import struct
import subprocess
import time

import pytest

from zygote_harness import (
    ALWAYS, BUILD, BUILDER, CMD, DELTA, ENTRY, EXIT, FAULTS, FRESH, IMAGES_MAX, MAGIC, PROCESS, REUSE, REVOKED,
    RUNNING, SETUP, SCAN, SIGNAL, SNAPSHOT, SPAWN, SPAWNED, STAY, VERSION, WORKER, Gone, Zygote, encode)

HOW = subprocess.run([os.path.join(BUILD, "tana-worker"), "--version"], capture_output=True,
                     text=True, check=True).stdout
SYSTEM_DUKTAPE = "system library" in HOW


# Layers that any user and any supported kernel can have (common/layers.def).
NNP, RLIMITS, SECCOMP = 0x080, 0x100, 0x400
SANITIZED = bool(os.environ.get("TANA_SANITIZERS", "").strip())


@pytest.fixture(scope="module", params=["bare", "sandboxed"])
def zygote(request):
    """Everything must work inside the sandbox too, and without it where it cannot be had."""
    required = 0
    if request.param == "sandboxed":
        # Sanitizers cannot live with seccomp.
        required = NNP | RLIMITS | (0 if SANITIZED else SECCOMP)
    z = Zygote(required=required)
    assert z.failed is None, z.failed
    assert z.ready["layers"] & required == required
    z.required = required
    yield z
    z.close()


@pytest.fixture
def worker(zygote):
    w = zygote.spawn()
    assert w.receive().type == "ready"
    yield w
    w.close()


@pytest.fixture(scope="module")
def images(zygote):
    """Images by their source, made once."""
    made = {}

    def image(source, **kw):
        if source not in made:
            made[source] = zygote.image(source, **kw)
        return made[source]

    return image


HELLO = "exports.get = function (req) { return 'hello'; };"

# Globals, prototypes, built-ins, the module's own state, the contract's exports.
COUNTER = """
var n = 0, list = [];
exports.get = function (req) {
	var seen = [n, list.length, typeof leaked, typeof {}.leaked, [].map === Array.prototype.forEach,
	    typeof JSON.leaked, typeof exports.leaked];
	n++;
	list.push(new Array(1000).join('x'));
	(function () { return this; })().leaked = 1;
	Object.prototype.leaked = 1;
	Array.prototype.map = Array.prototype.forEach;
	JSON.leaked = 1;
	exports.leaked = 1;
	delete Object.prototype.leaked;
	Object.defineProperty(Object.prototype, 'leaked', { value: 1, enumerable: false });
	return seen;
};
"""
UNTOUCHED = [0, 0, "undefined", "undefined", False, "undefined", "undefined"]


def value(reply):
    assert reply["fault"] == 0, (FAULTS[reply["fault"]], reply["message"])
    assert reply["status"] == 200
    return json.loads(reply["body"])


def assert_still_serves(w, images):
    assert value(w.invoke(images(HELLO))) == "hello"


# -- the zygote


def test_zygote_says_how_long_it_took_and_how_large_the_base_is(zygote):
    assert zygote.ready["warm_us"] > 0
    assert 4096 <= zygote.ready["image_bytes"] < zygote.memory_max()
    assert zygote.ready["image_bytes"] % 4096 == 0
    assert zygote.required or zygote.ready["layers"] == 0


def test_worker_is_ready_with_version_and_generation(zygote):
    w = zygote.spawn()
    frame = w.receive()
    assert frame.type == "ready"
    assert frame["version"] == VERSION
    assert frame["generation"] == zygote.generation
    w.close()


def descriptors(pid):
    try:
        return {int(fd): os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    except PermissionError:
        pytest.skip("only root can look into a process that is not dumpable")


def test_worker_holds_no_descriptor_but_its_own(worker):
    fds = descriptors(worker.pid)
    assert sorted(fds) == [0, 1, 2, 3, 4]
    assert fds[0] == fds[1] == "/dev/null"
    assert fds[4] == (f"/proc/{worker.pid}/pagemap" if worker.zygote.ready["restore"] else "/dev/null")
    assert fds[2] == "/dev/null" or SANITIZED       # not the log


def test_worker_takes_no_descriptor(worker, images):
    """Whatever else comes along with a frame is not there afterwards."""
    im = images(HELLO)
    assert_still_serves(worker, images)
    id = worker.last_id = worker.last_id + 1
    worker.slot(0, id, 1)
    data = encode("invoke", id=id, **worker.place(im), contract="test", function="get", method="GET",
                  url="http://localhost/", path="/", now=0.0, seed=b"")
    socket.send_fds(worker.sock, [data], [0, 0, 0])
    assert value(worker.answer(id)) == "hello"
    worker.restored(id)
    assert sorted(descriptors(worker.pid)) == [0, 1, 2, 3, 4]


def test_channel_is_closed_when_the_worker_dies(zygote):
    """Nobody else holds its end: not the zygote, not a sibling."""
    w = zygote.spawn()
    w.receive()
    sibling = zygote.spawn()
    sibling.receive()
    zygote.command(SIGNAL, w.number, sig=signal.SIGKILL)
    with pytest.raises(Gone):
        w.receive()
    assert w.exit_status() == -signal.SIGKILL
    sibling.close()


def test_worker_ends_when_the_channel_closes(zygote):
    w = zygote.spawn()
    w.receive()
    w.sock.close()
    assert w.exit_status() == 0


@pytest.mark.parametrize("what", ["no descriptors", "too many", "role", "number taken"])
def test_senseless_spawn_is_refused(zygote, worker, what):
    a, b = socket.socketpair()
    number, role, fds = 900001, WORKER, [a.fileno(), b.fileno()]
    if what == "no descriptors":
        fds = []
    elif what == "too many":
        role, fds = BUILDER, fds + [a.fileno()]
    elif what == "role":
        role = 7
    else:
        number = worker.number
    zygote.command(SPAWN, number, role, fds=fds)
    event = zygote.wait(SPAWNED, worker=number)
    assert event["status"] != 0 and event["fds"] == []
    a.close()
    b.close()
    w = zygote.spawn()              # and it goes on
    assert w.receive().type == "ready"
    w.close()


def test_signal_for_an_unknown_worker_is_ignored(zygote):
    zygote.command(SIGNAL, 900002, sig=signal.SIGKILL)
    w = zygote.spawn()
    assert w.receive().type == "ready"
    w.close()


def small_zygote(**kw):
    z = Zygote(memory_max=16 << 20, **kw)
    assert z.failed is None, z.failed
    return z


def test_all_end_when_the_fronts_socket_closes():
    z = small_zygote()
    workers = [z.spawn() for _ in range(3)]
    for w in workers:
        assert w.receive().type == "ready"
    z.sock.close()
    assert z.process.wait(60) == 0
    for w in workers:
        assert w.ended()
    z.close()


def test_workers_end_with_a_killed_zygote():
    z = small_zygote()
    workers = [z.spawn() for _ in range(2)]
    for w in workers:
        assert w.receive().type == "ready"
    z.process.kill()
    for w in workers:
        assert w.ended()
    z.close()


def test_exit_waits_for_the_last_worker():
    z = small_zygote()
    w = z.spawn()
    assert w.receive().type == "ready"
    z.command(EXIT)
    z.command(SPAWN, 99, WORKER, fds=[w.sock.fileno(), w.sock.fileno()])
    assert z.wait(SPAWNED, worker=99)["status"] != 0     # nobody new
    assert z.process.poll() is None
    w.send("retire")
    assert w.exit_status() == 0
    assert z.process.wait(60) == 0
    z.close()


@pytest.mark.parametrize("what", ["magic", "size", "isolation", "memory", "reply", "restore", "audit"])
def test_senseless_setup_is_refused_with_a_reason(what):
    fields = [MAGIC, SNAPSHOT, 1, 16 << 20, 1 << 20, 1 << 20, STAY, STAY, 0, 0, 0, SCAN, ALWAYS, 0]
    if what == "magic":
        fields[0] += 1
    elif what == "isolation":
        fields[1] = 4
    elif what == "memory":
        fields[3] = 1 << 40
    elif what == "reply":
        fields[5] = 1 << 40
    elif what == "restore":
        fields[11] = 3
    elif what == "audit":
        fields[12] = 3
    setup = SETUP.pack(*fields)
    z = Zygote(setup=setup[:-8] if what == "size" else setup)
    assert z.failed and "setup" in z.failed
    assert z.process.wait(60) == 1
    z.close()


@pytest.mark.parametrize("layer, name", [(0x002, "pidns"), (0x008, "mountns"), (0x80000000, "")])
def test_required_layer_that_is_not_there_is_fatal(layer, name):
    z = Zygote(memory_max=16 << 20, required=layer)
    assert z.failed and name in z.failed
    assert z.process.wait(60) == 6
    z.close()


def test_zygote_ends_quietly_when_nobody_sets_it_up():
    z = Zygote(start=False)
    z.sock.close()
    assert z.process.wait(60) == 0
    z.close()


def test_heap_that_does_not_fit_is_said_so():
    z = Zygote(memory_max=1 << 20)
    assert z.failed and "runtime" in z.failed
    assert z.process.wait(60) == 1
    z.close()


def test_a_packet_that_is_no_command_ends_the_generation():
    z = small_zygote()
    w = z.spawn()
    assert w.receive().type == "ready"
    z.sock.send(CMD.pack(MAGIC ^ 1, SPAWN, 5, 0, 0))
    assert z.process.wait(60) == 1
    assert w.ended()
    z.close()


# -- building


def test_image_names_its_exports_and_its_size(zygote, images):
    built = images(HELLO).built
    assert built["exports"] == ["get"]
    assert 0 < len(built["delta"]) < zygote.memory_max()
    both = zygote.image("exports.get = function () {}; exports.post = function () {};")
    assert both.built["exports"] == ["get", "post"]


def test_image_of_two_files(zygote, worker):
    im = zygote.image("", files=["get.js", HELLO, "post.js", "exports.post = function () { return 'p'; };"])
    assert im.built["exports"] == ["get", "post"]
    assert value(worker.invoke(im, function="post", method="POST")) == "p"


@pytest.mark.parametrize("source, message", [
    ("exports.get = function () {\n\n  return 1 +;\n};", "get.js:3:"),
    ("exports.get = function () {", "get.js"),
    ("});  (function () {", "get.js"),
    ("var a;\nnull.x;", "TypeError"),
    ("throw new Error('not today');", "not today"),
    ("throw 5;", "5"),
    ("var x = 1;", ""),
])
def test_bad_contract_is_refused_with_a_reason(zygote, source, message):
    builder = zygote.build(source)
    built = builder.receive_past_logs()
    assert built.type == "built"
    assert built.fault_name == "COMPILE"
    assert message in built["message"] and built["message"]
    assert builder.exit_status() == 0


def test_endless_module_level_ends_at_its_deadline(zygote):
    builder = zygote.build("console.log('begun'); for (;;) ;")
    assert builder.receive().type == "log"
    builder.deadline(1)
    assert builder.receive().fault_name == "DEADLINE"
    assert builder.exit_status() == 0


def test_greedy_module_level_meets_the_memory_limit(zygote):
    builder = zygote.build("var a = []; for (;;) a.push(new Uint8Array(1 << 16));")
    assert builder.receive().fault_name == "MEMORY"


def test_module_level_log_comes_with_id_0(zygote):
    builder = zygote.build("console.log('loading'); " + HELLO)
    log = builder.receive()
    assert log.type == "log" and log["id"] == 0 and log["text"] == "loading"
    assert builder.receive().fault_name == "NONE"


# -- requests


def test_reply_carries_value_and_times(worker, images):
    reply = worker.invoke(images(HELLO))
    assert value(reply) == "hello"
    headers = dict(zip(reply["headers"][::2], reply["headers"][1::2]))
    assert headers["content-type"].startswith("application/json")
    assert reply["message"] == ""
    for phase in ("heap_us", "compile_us", "bootstrap_us", "execution_us", "result_us"):
        assert reply[phase] < 60e6


def test_many_requests_on_one_mapping(worker, images):
    for _ in range(50):
        assert_still_serves(worker, images)


def test_handler_sees_the_request(worker, images):
    im = images("exports.post = function (req, body) { return [req.path, req.query, body, req.ip]; };")
    reply = worker.invoke(im, function="post", method="POST", path="/a/b", query="x=1&y=2",
                          url="http://localhost/test/a/b?x=1&y=2",
                          headers=["content-type", "application/json"], body=b'{"k":[1,2]}')
    path, query, body, ip = value(reply)
    assert path == "/a/b" and body == {"k": [1, 2]}
    assert query == {"x": "1", "y": "2"}
    assert ip == "127.0.0.1"


def test_snapshot_leaves_nothing_of_the_last_request(worker, images):
    im = images(COUNTER)
    for _ in range(5):
        assert value(worker.invoke(im)) == UNTOUCHED


def test_state_of_the_module_level_is_there_each_time(worker, images):
    im = images("var n = 40; n += 2; exports.get = function () { return n++; };")
    assert [value(worker.invoke(im)) for _ in range(3)] == [42, 42, 42]


def test_contracts_take_turns_on_one_worker(worker, images):
    a = images("var who = 'a'; exports.get = function () { who += '!'; return who; };")
    b = images("var who = 'b'; exports.get = function () { who += '?'; return who; };")
    seen = []
    for _ in range(4):
        seen += [value(worker.invoke(a)), value(worker.invoke(b))]
    assert seen == ["a!", "b?"] * 4


def test_image_that_is_not_here_is_our_fault_not_the_workers_end(worker, images):
    id = worker.post(12345)
    assert FAULTS[worker.answer(id)["fault"]] == "INTERNAL"
    assert_still_serves(worker, images)


def test_image_of_another_generation_is_refused(worker, images):
    z = small_zygote(generation=8)
    assert FAULTS[worker.invoke_broken(z.image(HELLO))["fault"]] == "INTERNAL"
    assert_still_serves(worker, images)
    z.close()


def test_more_contracts_than_a_worker_keeps(worker, images):
    """The slots are used again, in any order; each contract has its own heap each time."""
    many = [images(f"var who = {i}; exports.get = function () {{ who++; return who; }};")
            for i in range(IMAGES_MAX + 3)]
    order = [i * 7 % len(many) for i in range(3 * len(many))] + [0, 0, 1, 0, 1, 1, 2]
    for i in order:
        assert value(worker.invoke(many[i])) == i + 1
    assert len(set(worker.images)) == IMAGES_MAX


def test_slot_of_the_image_that_is_in_use_gets_another(worker, images):
    a, b = images("exports.get = function () { return 'a'; };"), images("exports.get = function () { return 'b'; };")
    for _ in range(3):
        for im, want in ((a, "a"), (b, "b")):
            assert value(worker.invoke(im, image_slot=3, delta=im.delta)) == want
            assert value(worker.invoke(im, image_slot=3, delta=b"")) == want
    # The one that was there is not there any more.
    id = worker.post(a, image_slot=3, delta=b"")
    assert FAULTS[worker.answer(id)["fault"]] == "INTERNAL"
    worker.images = [0] * IMAGES_MAX
    # Also when the frame that brought it was revoked, behind a heap in use.
    assert value(worker.invoke(a, image_slot=3, delta=a.delta)) == "a"
    worker.post(b, slot=5, state=REVOKED, image_slot=3, delta=b.delta)
    assert value(worker.invoke(b, image_slot=3, delta=b"")) == "b"
    worker.images = [0] * IMAGES_MAX


def edited(im, change):
    data = bytearray(im.delta)
    change(data, im.entries())
    return type(im)(bytes(data))


SPOILED = {
    "cut": lambda d, e: d.__delitem__(slice(-1, None)),
    "longer": lambda d, e: d.extend(bytes(16)),
    "only a header": lambda d, e: d.__delitem__(slice(DELTA.size, None)),
    "half a header": lambda d, e: d.__delitem__(slice(7, None)),
    "magic": lambda d, e: d.__setitem__(0, d[0] ^ 1),
    "generation": lambda d, e: d.__setitem__(8, d[8] ^ 1),
    "page of another arena": lambda d, e: ENTRY.pack_into(d, e[-1][2], 0x7fffffff, 0, e[-1][1]),
    "page twice": lambda d, e: ENTRY.pack_into(d, e[1][2], e[0][0], 0, e[1][1]),
    "no line": lambda d, e: ENTRY.pack_into(d, e[0][2], e[0][0], 0, 0),
    # What the page says of the arena: well formed, and of no use.
    "heap of another version": lambda d, e: d.__setitem__(e[0][2] + ENTRY.size, d[e[0][2] + ENTRY.size] ^ 1),
}


@pytest.mark.parametrize("how", SPOILED)
def test_spoiled_image_is_a_fault_and_not_the_workers_end(worker, images, how):
    im = images(HELLO)
    assert im.entries()[0][0] == 0 and im.entries()[0][1] & 1
    assert_still_serves(worker, images)
    for _ in range(2):
        assert FAULTS[worker.invoke_broken(edited(im, SPOILED[how]))["fault"]] == "INTERNAL"
        assert_still_serves(worker, images)


def test_image_that_does_not_fit_in_a_frame_is_refused_by_its_builder(zygote):
    builder = zygote.build("""
        var keep = [], i, j;
        for (i = 0; i < 20; i++) {
            keep.push(new Uint8Array(1 << 20));
            for (j = 0; j < keep[i].length; j += 64) keep[i][j] = 1;
        }
        exports.get = function () { return keep.length; };""")
    built = builder.receive_past_logs()
    assert built.fault_name == "MEMORY"
    assert "module level" in built["message"] and built["delta"] == b""
    assert builder.exit_status() == 0


def test_garbage_of_the_module_level_is_not_sent(zygote):
    """Memory that was freed again is no part of an image."""
    im = zygote.image("""
        var i, a;
        for (i = 0; i < 8; i++) { a = new Uint8Array(1 << 20); for (var j = 0; j < a.length; j += 64) a[j] = 1; }
        a = null;
        exports.get = function () { return 1; };""")
    assert len(im.delta) < 1 << 20


def test_large_image_takes_turns_with_small_ones(worker, images):
    """More pages of its own than a worker keeps from one request to the next."""
    large = images("""
        var keep = [], i, j;
        for (i = 0; i < 10; i++) {
            keep.push(new Uint8Array(1 << 20));
            for (j = 0; j < keep[i].length; j += 4096) keep[i][j] = 1;
        }
        exports.get = function () { var n = 0; keep.forEach(function (a) { for (var j = 0; j < a.length; j += 4096) n += a[j]++; }); return n; };""")
    for _ in range(3):
        assert value(worker.invoke(large)) == 2560
        assert value(worker.invoke(large)) == 2560
        assert value(worker.invoke(images(COUNTER))) == UNTOUCHED


RANDOM = "exports.get = function () { return [Math.random(), Math.random()]; };"


def test_random_numbers_are_new_for_each_request(worker, images):
    im = images(RANDOM)
    seen = [v for _ in range(10) for v in value(worker.invoke(im))]
    assert len(set(seen)) == 20
    assert all(0 <= v < 1 for v in seen)


def test_random_numbers_come_from_the_frames_seed_alone(zygote, images):
    im = images(RANDOM)
    seen = []
    for _ in range(2):
        w = zygote.spawn()
        w.receive()
        w.invoke(im)
        seen.append(value(w.invoke(im, seed=b"s" * 32)))
        w.close()
    assert seen[0] == seen[1]


def test_clock_goes_on(worker, images):
    im = images("exports.get = function () { return Date.now(); };")
    before = time.time() * 1000 - 1
    a = value(worker.invoke(im))
    time.sleep(0.02)
    b = value(worker.invoke(im))
    assert before <= a < b <= time.time() * 1000 + 1


def test_time_zone_is_utc_and_needs_no_file(worker, images):
    im = images("exports.get = function () { var d = new Date(0); return [d.getHours(), d.getTimezoneOffset(), String(d)]; };")
    hours, offset, text = value(worker.invoke(im))
    assert hours == 0 and offset == 0
    assert text.startswith("1970-01-01 00:00:00") or "00:00:00 GMT+0000" in text


EMOJI = "grüße 😀 𝄞 €"


def test_text_crosses_both_ways_whole(worker, images):
    im = images("""
        exports.post = function (req, body) {
            console.log(body.s);
            return [body.s, body.s.length, '\\ud83d\\ude00', req.path];
        };""")
    reply = worker.invoke(im, function="post", method="POST", path="/" + EMOJI,
                          headers=["content-type", "application/json"],
                          body=json.dumps({"s": EMOJI}, ensure_ascii=False).encode())
    text, length, face, path = value(reply)
    assert text == EMOJI and path == "/" + EMOJI
    assert length == len(EMOJI.encode("utf-16-le")) // 2
    assert face == "😀"
    assert worker.logs[0]["text"] == EMOJI


def test_lone_surrogate_leaves_as_replacement(worker, images):
    im = images("exports.get = function () { console.log('a\\ud83d'); return '\\ude00b'; };")
    reply = worker.invoke(im)
    assert worker.logs[0]["text"] == "a\ufffd"
    # JSON may escape it instead: either way the bytes are valid UTF-8.
    assert value(reply) in ("\ufffdb", "\ude00b")


def test_invalid_bytes_never_become_hidden_keys(worker, images):
    im = images("""
        exports.get = function (req) {
            var o = {};
            o[req.path] = 1;
            return [Object.keys(o).length, req.path.length];
        };""")
    value(worker.invoke(im))            # mapped now
    for path in (b"\xff\xffhidden", b"\x81symbol\xff", b"\x82x", b"\xed\xa0\x80"):
        id = worker.last_id = worker.last_id + 1
        worker.slot(0, id, 1)
        stand_in = "PATH" + "x" * len(path)
        frame = encode("invoke", id=id, image=im.number, contract="test", function="get",
                       method="GET", url="http://localhost/", path=stand_in, now=0.0,
                       seed=os.urandom(32))
        worker.sock.sendall(frame.replace(stand_in.encode(), b"/abc" + path))
        keys, length = value(worker.answer(id))
        worker.restored(id)
        assert keys == 1 and length > 4


def test_console_records_come_before_the_reply_with_its_id(worker, images):
    im = images("exports.get = function () { console.log('one'); console.error('two'); return 3; };")
    id = worker.post(im)
    worker.answer(id)
    worker.restored(id)
    assert [(f["id"], f["text"]) for f in worker.logs] == [(id, "one"), (id, "two")]
    assert worker.logs[0]["level"] > worker.logs[1]["level"]


def test_long_console_record_is_cut_at_a_character(worker, images):
    im = images("exports.get = function () { var s = '€'; while (s.length < 100000) s += s; console.log(s); return 1; };")
    worker.invoke(im)
    text = worker.logs[0]["text"]
    assert 1000 < len(text.encode()) <= 16 << 10
    assert set(text) == {"€"}


def test_exception_is_told_with_its_stack(worker, images):
    im = images("exports.get = function () { function deep() { throw new TypeError('oh no'); } deep(); };")
    reply = worker.invoke(im)
    assert FAULTS[reply["fault"]] == "THREW"
    assert "oh no" in reply["message"] and "deep" in reply["message"]
    assert reply["status"] == 0 and reply["body"] == b""
    assert_still_serves(worker, images)


TAMPER = {
    "indexes": "Object.defineProperty(Array.prototype, '0', { get: function () { return 'x' + Math.random(); }, set: function () {}, configurable: true });",
    "results": "['status', 'headers', 'body', 'fault', 'message'].forEach(function (k) { Object.defineProperty(Object.prototype, k, { get: function () { return 'x' + Math.random(); }, set: function () {}, configurable: true }); });",
    "length": "Object.defineProperty(Array.prototype, 'push', { value: null }); Object.defineProperty(Object.prototype, 'length', { value: 1e9 });",
    "strings": "String = Object = Array = JSON = Promise = Uint8Array = undefined; String.prototype = null;",
    "calls": "Function.prototype.call = Function.prototype.apply = Function.prototype.bind = null;",
    "then": "Object.prototype.then = function (f) { f(1); };",
    "tojson": "Object.prototype.toJSON = Array.prototype.toJSON = String.prototype.toJSON = function () { for (;;) throw 1; };",
    "frozen": "[Object, Array, Function, String, Promise].forEach(function (f) { Object.freeze(f.prototype); });",
}


@pytest.mark.parametrize("how", TAMPER)
def test_tampering_with_built_ins_hurts_nobody_else(worker, images, how):
    im = images("exports.get = function () { try { " + TAMPER[how] + " } catch (e) {} return { a: [1, 2, 'drei'] }; };")
    for _ in range(3):
        reply = worker.invoke(im)
        assert reply["fault"] == 0 or FAULTS[reply["fault"]] in ("THREW", "RESULT", "UNSETTLED", "MEMORY")
        assert_still_serves(worker, images)


def test_method_that_is_not_exported(worker, images):
    reply = worker.invoke(images(HELLO), function="post", method="POST")
    assert FAULTS[reply["fault"]] == "METHOD"


@pytest.mark.parametrize("unit, times", [("x", 2 << 20), ("€", 400000), ("😀", 300000)])
def test_reply_beyond_reply_max_is_a_fault(worker, images, unit, times):
    im = images(f"exports.get = function () {{ var s = '{unit}'; while (s.length < {times}) s += s; return s; }};")
    assert FAULTS[worker.invoke(im)["fault"]] == "REPLY_SIZE"
    assert_still_serves(worker, images)


def test_largest_reply_arrives_whole(worker, images):
    im = images("exports.get = function () { var s = 'x'; while (s.length < 524288) s += s; return s; };")
    assert value(worker.invoke(im)) == "x" * 524288


# -- limits


LOOP = "for (;;) ;"
REGEXP = "return /^(a+)+$/.test(new Array(60).join('a') + 'b');"
SORT = """
	var a = [], i;
	for (i = 0; i < 200000; i++) a.push((i * 7919) % 200003);
	console.log('sorting');
	for (;;) a.sort(function (x, y) { return x - y; }).reverse();
"""
INDEX = "var s = new Array(1 << 20).join('ab'), n = new Array(1 << 19).join('ab') + 'c'; for (;;) s.indexOf(n);"
LOGS = "for (;;) console.log('again and again');"
CATCH = "for (;;) try { for (;;) ; } catch (e) {} finally { continue; }"
RANDOMS = "for (;;) Math.random();"


@pytest.mark.parametrize("body", [LOOP, REGEXP, SORT, INDEX, LOGS, CATCH, RANDOMS],
                         ids=["loop", "regexp", "sort", "indexof", "log", "catch", "random"])
def test_deadline_ends_the_request_and_not_the_worker(worker, images, body):
    im = images("exports.get = function () { console.log('begun'); " + body + " };")
    for _ in range(2):
        id = worker.post(im)
        assert worker.receive()["text"] == "begun"
        worker.deadline(id)
        reply = worker.answer(id)
        assert FAULTS[reply["fault"]] == "DEADLINE"
        worker.restored(id)
        assert_still_serves(worker, images)


def test_deadline_that_comes_at_once(worker, images):
    """Before the first byte of the contract has run: it is not lost."""
    im = images("exports.get = function () { for (;;) ; };")
    for _ in range(10):
        id = worker.last_id + 1
        worker.deadline(id)
        worker.post(im)
        assert FAULTS[worker.answer(id)["fault"]] == "DEADLINE"
        worker.restored(id)


def test_late_deadline_does_not_hit_the_next_request(worker, images):
    im = images("exports.get = function () { var n = 0, end = Date.now() + 30; while (Date.now() < end) n++; return 'done'; };")
    last = worker.post(images(HELLO))
    worker.answer(last)
    worker.restored(last)
    for _ in range(3):
        id = worker.post(im)
        worker.wait_running()
        worker.deadline(last)           # for a request that was answered already
        assert value(worker.answer(id)) == "done"
        worker.restored(id)
        last = id


MEMORY = {
    "bytes": "var a = []; for (;;) a.push(new Uint8Array(1 << 20));",
    "objects": "var a = []; for (;;) a.push({ a: 1, b: [2] });",
    "string": "var s = 'x'; for (;;) s += s;",
    "caught": "var a = []; for (;;) try { a.push(new Uint8Array(1 << 20)); } catch (e) { return 'fine'; }",
}


@pytest.mark.parametrize("how", MEMORY)
def test_memory_limit_ends_the_request_and_not_the_worker(worker, images, how):
    im = images("exports.get = function () { " + MEMORY[how] + " };")
    reply = worker.invoke(im)
    assert FAULTS[reply["fault"]] == ("THREW" if how == "string" and reply["fault"] == FAULTS.index("THREW")
                                      else "MEMORY")
    assert_still_serves(worker, images)


@pytest.mark.skipif(SYSTEM_DUKTAPE, reason="the system's Duktape does not check the native stack")
@pytest.mark.parametrize("body", [
    "function f() { return f() + 1; } return f();",
    "function f(x) { return [1].map(function () { return f(x); }); } return f(1);",
    "var s = new Array(200001).join('['); return JSON.parse(s);",
    "return new RegExp(new Array(11001).join('(')).test('a');",
    "return eval(new Array(100001).join('(') + '1');",
    "var o = {}; o.toString = function () { return '' + o; }; return '' + o;",
    "return /^(?:a|b)*$/.test(new Array(2000000).join('a'));",
], ids=["calls", "native", "json", "regexp", "parser", "tostring", "backtracking"])
def test_deep_recursion_is_an_error_of_the_script(worker, images, body):
    im = images("exports.get = function () { try { " + body + " } catch (e) { return e.name; } return 'no error'; };")
    reply = worker.invoke(im)
    assert reply["fault"] == 0 or FAULTS[reply["fault"]] == "MEMORY"
    if reply["fault"] == 0:
        assert value(reply) in ("RangeError", "SyntaxError", "no error")
    assert_still_serves(worker, images)


# -- waiting


SLEEPER = """
exports.get = function () {
	return { then: function (done) { setTimeout(function () { setTimeout(function () { done('woken'); }, 5); }, 5); } };
};
"""


def sleep_of(w, id):
    frame = w.receive()
    assert frame.type == "sleep" and frame["id"] == id
    assert 0 < frame["ms"] <= 1000
    return frame


def test_timers_wait_at_the_front(worker, images):
    id = worker.post(images(SLEEPER))
    for _ in range(2):
        frame = sleep_of(worker, id)
        time.sleep(frame["ms"] / 1000)
        worker.send("wake", id=id)
    assert value(worker.answer(id)) == "woken"
    worker.restored(id)


def test_waking_too_early_makes_it_ask_again(worker, images):
    im = images("exports.get = function () { return { then: function (done) { setTimeout(done, 1e8); } }; };")
    id = worker.post(im)
    for _ in range(3):
        frame = worker.receive()
        assert frame.type == "sleep" and frame["id"] == id
        assert 5e7 < frame["ms"] <= 1e8
        worker.send("wake", id=id)
    assert worker.receive().type == "sleep"
    worker.deadline(id)
    assert FAULTS[worker.answer(id)["fault"]] == "DEADLINE"


def test_frames_behind_a_sleeping_request_keep_their_places(worker, images):
    im, hello = images(SLEEPER), images(HELLO)
    first = worker.post(im)
    sleep_of(worker, first)
    others = [worker.post(im, slot=1), worker.post(hello, slot=2)]
    worker.send("wake", id=999999)          # for somebody who is gone
    time.sleep(0.01)
    worker.send("wake", id=first)
    sleep_of(worker, first)
    time.sleep(0.01)
    worker.send("wake", id=first)
    assert value(worker.answer(first)) == "woken"
    worker.restored(first)
    sleep_of(worker, others[0])
    for _ in range(2):
        time.sleep(0.01)
        worker.send("wake", id=others[0])
        frame = worker.receive()
    assert frame.type == "reply" and value(frame) == "woken"
    worker.restored(others[0])
    assert value(worker.answer(others[1])) == "hello"


@pytest.mark.parametrize("function", ["get", "fetch"])
def test_request_is_known_after_its_frame_has_gone(worker, images, function):
    """Texts that nobody has asked for are still the frame's; while the request sleeps that takes other frames."""
    im = images("""var block = require('tana/block').block;
function facts(req) {
	return new Promise(function (done) {
		setTimeout(function () {
			done([req.url, req.ip, req.headers.get('x-long'), req.path, req.query.a, block.hash]);
		}, 5);
	});
}
exports.get = facts;
exports.default = { fetch: function (req) { return facts(req).then(function (f) { return Response.json(f); }); } };""")

    def about(c):
        return dict(function=function, url="http://h/" + c * 300, ip=c * 20, headers=["x-long", c * 3000], path="/" + c,
                    query="a=" + c, block=json.dumps({"hash": c * 50}))
    first = worker.post(im, **about("a"))
    sleep_of(worker, first)
    second = worker.post(im, slot=1, **about("b"))
    time.sleep(0.01)
    for id, c in ((first, "a"), (second, "b")):
        if c == "b":
            sleep_of(worker, second)
            worker.post(im, slot=2, **about("c"))
            time.sleep(0.01)
        worker.send("wake", id=id)
        assert value(worker.answer(id)) == ["http://h/" + c * 300, c * 20, c * 3000, "/" + c, c, c * 50]
        worker.restored(id)


def test_deadline_while_asleep(worker, images):
    id = worker.post(images(SLEEPER))
    sleep_of(worker, id)
    worker.deadline(id)
    assert FAULTS[worker.answer(id)["fault"]] == "DEADLINE"
    worker.restored(id)
    assert_still_serves(worker, images)


def test_promise_that_nothing_can_settle(worker, images):
    im = images("exports.get = function () { return { then: function () {} }; };")
    assert FAULTS[worker.invoke(im)["fault"]] == "UNSETTLED"
    assert_still_serves(worker, images)


def test_timer_of_an_answered_request_is_gone(worker, images):
    im = images("exports.get = function () { setTimeout(function () { console.log('ghost'); }, 1); return 'first'; };")
    for _ in range(3):
        assert value(worker.invoke(im)) == "first"
        assert worker.logs == []
        time.sleep(0.005)


# -- frames


def test_frames_are_answered_in_order(worker, images):
    im = images("exports.get = function (req) { return req.path; };")
    ids = [worker.post(im, slot=i, path=f"/{i}") for i in range(8)]
    for i, id in enumerate(ids):
        assert value(worker.answer(id)) == f"/{i}"
        worker.restored(id)
        assert worker.slot_state(i) == RUNNING


def test_revoked_frame_is_skipped(worker, images):
    im = images(HELLO)
    worker.post(im, slot=3, state=REVOKED)
    id = worker.post(im, slot=4)
    assert value(worker.answer(id)) == "hello"      # the next frame, and nothing before it
    assert worker.slot_state(3) == REVOKED


def test_slot_of_another_request_is_not_run(worker, images):
    """The front reused the slot: the old frame must not start."""
    im = images(HELLO)
    worker.post(im, slot=2, **{"id": 77})
    id = worker.post(im, slot=5)
    assert value(worker.answer(id)) == "hello"


def test_image_comes_even_with_a_revoked_frame(worker, images):
    im = images("exports.get = function () { return 'mapped'; };")
    worker.post(im, slot=1, state=REVOKED)
    assert im.number in worker.images       # the next frame does not bring it again
    assert value(worker.invoke(im)) == "mapped"


def test_frame_in_pieces(worker, images):
    im = images(HELLO)
    assert_still_serves(worker, images)
    id = worker.last_id = worker.last_id + 1
    worker.slot(0, id, 1)
    data = encode("invoke", id=id, **worker.place(im), contract="test", function="get", method="GET",
                  url="http://localhost/", path="/", now=0.0, seed=b"")
    for i in range(0, len(data), 7):
        worker.sock.sendall(data[i:i + 7])
    assert value(worker.answer(id)) == "hello"


@pytest.mark.parametrize("data", [
    struct.pack(">I", 3) + b"\xff\xff\xff",
    struct.pack(">I", 0),
    struct.pack(">I", 0xFFFFFFFF) + b"x",
    struct.pack(">I", (16 << 20) + 1),
    encode("ready", version=VERSION, generation=7),
    encode("wake", id=1)[:4] + b"\x92\x06\xa1",
    encode("invoke", id=1, slot=16),
    encode("invoke", id=1, isolation=4),
    encode("invoke", id=1, image=1, image_slot=IMAGES_MAX),
    encode("build", id=1),
], ids=["no array", "empty", "huge", "too long", "direction", "kind", "slot", "isolation", "image slot", "builder's"])
def test_senseless_frame_ends_the_worker_with_71(zygote, data):
    w = zygote.spawn()
    assert w.receive().type == "ready"
    w.sock.sendall(data)
    assert w.exit_status() == 71
    w.close()


def test_builder_takes_no_request(zygote):
    builder = zygote.spawn(BUILDER)
    assert builder.receive().type == "ready"
    builder.send("invoke", id=1)
    assert builder.exit_status() == 71


def test_retire_ends_the_worker_after_what_it_has(zygote, images):
    w = zygote.spawn()
    assert w.receive().type == "ready"
    ids = [w.post(images(HELLO), slot=i) for i in range(3)]
    w.send("retire", reason=1)
    for id in ids:
        assert value(w.answer(id)) == "hello"
        w.restored(id)
    with pytest.raises(Gone):
        w.receive()
    assert w.exit_status() == 0
    w.close()


# -- the other ways to a heap


def test_process_mode_ends_after_one_request(zygote, images):
    for _ in range(2):
        w = zygote.spawn()
        assert w.receive().type == "ready"
        assert value(w.invoke(images(COUNTER), isolation=PROCESS)) == UNTOUCHED
        with pytest.raises(Gone):
            w.receive()
        assert w.exit_status() == 0
        w.close()


def test_reuse_mode_keeps_the_heap(worker, images):
    im = images("var n = 0; exports.get = function () { return [n++, Math.random()]; };")
    seen = [value(worker.invoke(im, isolation=REUSE)) for _ in range(4)]
    assert [n for n, _ in seen] == [0, 1, 2, 3]
    assert len({r for _, r in seen}) == 4


def test_reuse_mode_begins_anew_with_another_contract(worker, images):
    a = images("var n = 0; exports.get = function () { return [n++, Math.random()]; };")
    b = images("var n = 100; exports.get = function () { return n++; };")
    for _ in range(3):
        assert [value(worker.invoke(a, isolation=REUSE))[0] for _ in range(3)] == [0, 1, 2]
        assert [value(worker.invoke(b, isolation=REUSE)) for _ in range(3)] == [100, 101, 102]


def test_reuse_mode_runs_nothing_of_a_contract_after_its_answer(worker, images):
    """The request's memory goes then; what nobody has asked for is put into the heap first."""
    trap = images("""
exports.get = function () {
	Object.defineProperty(Array.prototype, 0, { configurable: true, set: function () { for (;;) ; } });
	return 1;
};""")
    other = images("exports.get = function () { return 2; };")
    assert value(worker.invoke(trap, isolation=REUSE, headers=["a", "b"])) == 1
    assert value(worker.invoke(other, isolation=REUSE)) == 2


def test_reuse_mode_collects_garbage(worker, images):
    im = images("exports.get = function () { var a = [], i; for (i = 0; i < 40; i++) a.push(new Uint8Array(1 << 17), { a: a }); return 1; };")
    for _ in range(20):                     # 100 MB in all, in an arena of 32
        assert value(worker.invoke(im, isolation=REUSE)) == 1


def test_reuse_mode_ends_a_worker_whose_heap_was_left_in_the_middle(zygote, images):
    w = zygote.spawn()
    assert w.receive().type == "ready"
    id = w.post(images("exports.get = function () { for (;;) ; };"), isolation=REUSE)
    w.wait_running()
    w.deadline(id)
    assert FAULTS[w.answer(id)["fault"]] == "DEADLINE"
    assert w.exit_status() == 0
    w.close()


def test_fresh_mode_compiles_for_each_request(worker):
    for path in ("/a", "/b"):
        reply = worker.invoke(isolation=FRESH, source=["get.js", COUNTER], path=path)
        assert value(reply) == UNTOUCHED
        assert reply["heap_us"] > 0 and reply["compile_us"] > 0


def test_fresh_mode_tells_what_does_not_compile(worker, images):
    reply = worker.invoke(isolation=FRESH, source=["get.js", "exports.get = function ( {"])
    assert FAULTS[reply["fault"]] == "COMPILE"
    assert "get.js" in reply["message"]
    assert_still_serves(worker, images)


def test_fresh_mode_deadline_at_the_module_level(worker):
    id = worker.post(isolation=FRESH, source=["get.js", "console.log('begun'); for (;;) ;"])
    assert worker.receive()["text"] == "begun"
    worker.deadline(id)
    assert FAULTS[worker.answer(id)["fault"]] == "DEADLINE"
    worker.restored(id)
    reply = worker.invoke(isolation=FRESH, source=["get.js", HELLO])
    assert value(reply) == "hello"


def test_modes_may_change_on_one_worker(worker, images):
    im = images(COUNTER)
    assert value(worker.invoke(im)) == UNTOUCHED
    assert value(worker.invoke(im, isolation=REUSE)) == UNTOUCHED
    assert value(worker.invoke(im, isolation=REUSE)) != UNTOUCHED
    assert value(worker.invoke(im)) == UNTOUCHED
    assert value(worker.invoke(isolation=FRESH, source=["get.js", HELLO])) == "hello"
    assert value(worker.invoke(im)) == UNTOUCHED
