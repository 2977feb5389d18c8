"""Plays the front before a real `tana-worker --zygote`: packets of
common/tn_zygote.h, frames as common/frames.def lists them."""

import mmap
import os
import re
import select
import signal
import socket
import struct
import subprocess
import time

import msgpack

SOURCE = os.environ.get("TANA_SOURCE") or os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
BUILD = os.environ.get("TANA_BUILD") or os.path.join(SOURCE, "build")
PATIENCE = 60           # seconds; only a test that fails waits for so long

MAGIC = 0x7A793035
SETUP = struct.Struct("=II4Q8I")
CMD = struct.Struct("=IIQIi")
EVENT = struct.Struct("=IIQiiIIQQ200s")
SPAWN, SIGNAL, EXIT = 1, 2, 3
READY, FAILED, SPAWNED, EXITED = 1, 2, 3, 4
WORKER, BUILDER = 0, 1
SNAPSHOT, PROCESS, REUSE, FRESH = range(4)
DROP, PAGEMAP, SCAN = range(3)
OFF, SAMPLE, ALWAYS = range(3)		# audit
FREE, QUEUED, RUNNING, REVOKED = range(4)
RESTORES, RESTORED = 192, 200		# in the page of slots, common/tn_slots.h
STAY = 0xFFFFFFFF
DELTA = struct.Struct("=IIQQII")        # worker/wk_delta.h: the header of an image
ENTRY = struct.Struct("=IIQ")           # and of each of its pages


def table(name):
    with open(os.path.join(SOURCE, "common", name), encoding="utf-8") as f:
        return f.read()


def read_frames():
    text = table("frames.def")
    fields = {}
    for symbol, body in re.findall(r"#define TN_FRAME_(\w+)_FIELDS\(F\)((?:.*\\\n)*.*)", text):
        fields[symbol] = re.findall(r"F\((\w+),\s*(\w+)", body)
    return {name: (int(number), fields[symbol]) for symbol, number, name in
            re.findall(r"^TN_FRAME\((\w+),\s*(\d+),\s*(\w+)", text, re.M)}


FRAMES = read_frames()
VERSION = int(re.search(r"define TN_FRAMES_VERSION (\d+)", table("frames.def"))[1])
with open(os.path.join(SOURCE, "common", "tn_slots.h"), encoding="utf-8") as slots_h:
    RESTORES_KEPT = int(re.search(r"define TN_RESTORES_KEPT (\d+)u", slots_h.read())[1])
IMAGES_MAX = int(re.search(r"define TN_IMAGES_MAX (\d+)", table("frames.def"))[1])
FRAME_NAMES = {number: name for name, (number, _) in FRAMES.items()}
FAULTS = ["NONE"] + re.findall(r"^TN_FAULT\((\w+)", table("errors.def"), re.M)
EMPTY = {"u64": 0, "f64": 0.0, "str": "", "bin": b"", "strv": []}


def encode(name, **values):
    number, fields = FRAMES[name]
    unknown = set(values) - {field for _, field in fields}
    assert not unknown, unknown
    body = msgpack.packb([number] + [values.get(field, EMPTY[kind]) for kind, field in fields],
                         use_bin_type=True)
    return struct.pack(">I", len(body)) + body


class Frame(dict):
    """Fields by name; .type; .fault_name of a REPLY or BUILT."""

    def __init__(self, body):
        number, *values = msgpack.unpackb(body, raw=False)
        self.type = FRAME_NAMES[number]
        fields = FRAMES[self.type][1]
        assert len(fields) == len(values), (self.type, values)
        super().__init__(zip((field for _, field in fields), values))

    @property
    def fault_name(self):
        return FAULTS[self["fault"]]


def readable(file, ms):
    """Within so many milliseconds?  (select() cannot have descriptors from 1024 on.)"""
    p = select.poll()
    p.register(file, select.POLLIN)
    return bool(p.poll(ms))


class Gone(Exception):
    """The other end has closed."""


class Zygote:
    def __init__(self, generation=7, isolation=SNAPSHOT, memory_max=32 << 20, body_max=1 << 20,
                 reply_max=1 << 20, present=0, required=0, restore=SCAN, audit=ALWAYS, setup=None, start=True):
        self.generation = generation
        self.last_worker = 0
        self.events = []
        self.workers = []
        self.ready = None
        self.failed = None
        self.sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(PATIENCE)

        def move():
            os.dup2(theirs.fileno(), 3)

        self.process = subprocess.Popen([os.path.join(BUILD, "tana-worker"), "--zygote"],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        preexec_fn=move, pass_fds=(3,))
        theirs.close()
        if setup is None:
            setup = SETUP.pack(MAGIC, isolation, generation, memory_max, body_max, reply_max,
                               STAY, STAY, present, required, 0, restore, audit, 0)
        if not start:
            return
        self.sock.send(setup)
        try:
            event = self.wait(READY, FAILED)
        except Gone:
            return
        if event["type"] == READY:
            self.ready = event
        else:
            self.failed = event["text"]

    def _receive(self):
        data, fds, _, _ = socket.recv_fds(self.sock, 4096, 4)
        if not data:
            raise Gone
        (magic, kind, worker, pid, status, layers, restore, warm_us, image_bytes,
         text) = EVENT.unpack(data)
        assert magic == MAGIC
        self.events.append(dict(type=kind, worker=worker, pid=pid, status=status, layers=layers,
                                restore=restore, warm_us=warm_us, image_bytes=image_bytes, fds=fds,
                                text=text.split(b"\0")[0].decode()))

    def wait(self, *types, worker=None):
        """The first such event, taken out of the row."""
        while True:
            for event in self.events:
                if event["type"] in types and worker in (None, event["worker"]):
                    self.events.remove(event)
                    return event
            self._receive()

    def command(self, op, worker=0, role=0, sig=0, fds=()):
        data = CMD.pack(MAGIC, op, worker, role, sig)
        if fds:
            socket.send_fds(self.sock, [data], list(fds))
        else:
            self.sock.send(data)

    def spawn(self, role=WORKER):
        self.last_worker += 1
        worker = Worker(self, self.last_worker, role)
        self.workers.append(worker)
        return worker

    def build(self, source, name="get.js", contract="test", files=None, meta=""):
        """A builder that makes the contract's image; BUILT is to come."""
        builder = self.spawn(BUILDER)
        assert builder.receive().type == "ready"
        builder.send("build", id=1, contract=contract, meta=meta, now=time.time() * 1000, seed=os.urandom(32),
                     source=files or [name, source])
        return builder

    def image(self, source, **kw):
        builder = self.build(source, **kw)
        built = builder.receive_past_logs()
        assert built.type == "built", built
        assert built.fault_name == "NONE", built["message"]
        assert builder.exit_status() == 0
        return Image(built["delta"], built)

    def memory_max(self):
        return 32 << 20

    def close(self):
        for worker in self.workers:
            worker.close()
        self.sock.close()
        for event in self.events:
            for fd in event["fds"]:
                os.close(fd)
        try:
            self.process.wait(PATIENCE)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()


class Image:
    last = 0

    def __init__(self, delta, built=None):
        Image.last += 1
        self.number = Image.last
        self.delta = delta
        self.built = built

    def entries(self):
        """(page, mask, offset of the entry), of each page that differs from the base."""
        at, found = DELTA.size, []
        while at < len(self.delta):
            page, _, mask = ENTRY.unpack_from(self.delta, at)
            found.append((page, mask, at))
            at += ENTRY.size + 64 * bin(mask).count("1")
        return found


class Worker:
    def __init__(self, zygote, number, role):
        self.zygote = zygote
        self.number = number
        self.images = [0] * IMAGES_MAX          # numbers, by slot
        self.recent = list(range(IMAGES_MAX))   # slots, the one that was used last at the end
        self.last_id = number * 1000
        self.restores = 0               # how many of those in the page were looked at
        self.buffer = b""
        self.sock, theirs = socket.socketpair()
        self.sock.settimeout(PATIENCE)
        slots = os.memfd_create("slots", os.MFD_CLOEXEC)
        os.ftruncate(slots, 4096)
        self.slots = mmap.mmap(slots, 4096)
        zygote.command(SPAWN, number, role, fds=[theirs.fileno(), slots])
        theirs.close()
        os.close(slots)
        event = zygote.wait(SPAWNED, worker=number)
        assert event["status"] == 0, event
        (self.pidfd,) = event["fds"]
        self.pid = event["pid"]         # no pid namespace here: the host's too

    def send(self, name, **values):
        self.sock.sendall(encode(name, **values))

    def place(self, image):
        """INVOKE's fields that say where the image is, and bring it if need be."""
        fields = dict(image=image.number)
        if image.number in self.images:
            slot = self.images.index(image.number)
        else:
            slot = self.recent[0]
            self.images[slot] = image.number
            fields["delta"] = image.delta
        self.recent.remove(slot)
        self.recent.append(slot)
        return dict(fields, image_slot=slot)

    def receive(self):
        while True:
            if len(self.buffer) >= 4:
                n = struct.unpack(">I", self.buffer[:4])[0]
                if len(self.buffer) >= 4 + n:
                    body, self.buffer = self.buffer[4:4 + n], self.buffer[4 + n:]
                    return Frame(body)
            data = self.sock.recv(1 << 20)
            if not data:
                raise Gone
            self.buffer += data

    def receive_past_logs(self):
        while True:
            frame = self.receive()
            if frame.type != "log":
                return frame

    def slot(self, index, id, state):
        struct.pack_into("=Q", self.slots, 8 + 8 * index, id << 2 | state)

    def slot_state(self, index):
        return struct.unpack_from("=Q", self.slots, 8 + 8 * index)[0] & 3

    def post(self, image=None, slot=0, state=QUEUED, **values):
        """Send INVOKE; the request's id."""
        self.last_id += 1
        self.slot(slot, self.last_id, state)
        fields = dict(id=self.last_id, slot=slot, isolation=SNAPSHOT, contract="test", function="get",
                      method="GET", url="http://localhost/test/", path="/", ip="127.0.0.1",
                      now=time.time() * 1000, seed=os.urandom(32))
        if isinstance(image, int):          # a number alone
            fields["image"] = image
        elif image is not None:
            fields.update(self.place(image))
        fields.update(values)
        self.send("invoke", **fields)
        return self.last_id

    def answer(self, id):
        """The REPLY to it, and what was logged before."""
        self.logs = []
        while True:
            frame = self.receive()
            if frame.type == "log":
                self.logs.append(frame)
                continue
            assert frame.type == "reply", frame.type
            assert frame["id"] == id
            return frame

    def restored(self, id):
        """Wait until the heap was put back after this request; what the page says of it."""
        end = time.monotonic() + PATIENCE
        while self.all_restores() == self.restores:
            if self.buffer or readable(self.sock, 0):
                if self.all_restores() > self.restores:
                    break               # it is the next request's
                frame = self.receive()
                assert frame.type != "restored", (id, frame["id"], frame["differ"], frame["page"])
                raise AssertionError(f"{frame.type} comes before {id} was put back")
            assert time.monotonic() < end, f"the heap is not put back after {id}"
            time.sleep(0.00005)
        word = struct.unpack_from("=I", self.slots, RESTORED + 4 * (self.restores % RESTORES_KEPT))[0]
        self.restores += 1
        return {"restore_us": word >> 1, "audited": word & 1}

    def all_restores(self):
        return struct.unpack_from("=Q", self.slots, RESTORES)[0]

    def invoke(self, image=None, **values):
        id = self.post(image, **values)
        reply = self.answer(id)
        if values.get("isolation", SNAPSHOT) != PROCESS:
            self.restored(id)
        return reply

    def invoke_broken(self, image, **values):
        """With an image that is not accepted: nothing runs, so that nothing is put back."""
        reply = self.answer(self.post(image, **values))
        self.images[self.recent[-1]] = 0
        return reply

    def wait_running(self, slot=0):
        end = time.monotonic() + PATIENCE
        while self.slot_state(slot) != RUNNING:
            assert time.monotonic() < end, "the frame was never started"
            time.sleep(0.001)

    def deadline(self, id):
        """As the front says that a request's time is up."""
        struct.pack_into("=Q", self.slots, 0, id)
        self.zygote.command(SIGNAL, self.number, sig=signal.SIGALRM)

    def exit_status(self):
        """What the zygote says of its end: status, or -signal."""
        return os.waitstatus_to_exitcode(self.zygote.wait(EXITED, worker=self.number)["status"])

    def ended(self):
        """Has the process ended (within our patience)?"""
        return readable(self.pidfd, PATIENCE * 1000)

    def close(self):
        self.sock.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
