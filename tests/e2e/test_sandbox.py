"""The sandbox of the real tana-worker: every system call is tried from inside a
live worker (by ptrace, as if its code had been taken over), and a zygote that
cannot have what is required does not start."""

import ctypes
import errno
import os
import platform
import re
import signal
import time

import pytest

from zygote_harness import BUILDER, DROP, PAGEMAP, PATIENCE, SCAN, SOURCE, Zygote

SANITIZED = bool(os.environ.get("TANA_SANITIZERS", "").strip())
ROOT = os.getuid() == 0


def layer_bits():
    with open(os.path.join(SOURCE, "common/layers.def"), encoding="utf-8") as f:
        found = re.findall(r'^TN_LAYER\((\w+),\s*(0x[0-9a-f]+),\s*"(\w+)"', f.read(), re.M)
    return {symbol: int(bit, 16) for symbol, bit, _ in found}


LAYER = layer_bits()
# What every supported system gives to every user.
ALWAYS = LAYER["NNP"] | LAYER["RLIMITS"] | LAYER["NOCAPS"]
if not SANITIZED:
    ALWAYS |= LAYER["SECCOMP"]


# -- a worker that somebody else steers

SEIZE, INTERRUPT, GETREGS, SETREGS, SINGLESTEP, PEEKTEXT, POKETEXT = 0x4206, 0x4207, 12, 13, 9, 1, 4
WALL, EXITKILL = 0x40000000, 0x100000
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


class Regs(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulong) for name in (
        "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss "
        "fs_base gs_base ds es fs gs").split()]


def ptrace(request, pid, addr=0, data=0):
    ctypes.set_errno(0)
    value = libc.ptrace(request, pid, addr, data)
    if value == -1 and ctypes.get_errno() != 0:
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x}")
    return value


ARENA, ARENA_SIZE, SEND_MAX = 0x200000000000, 32 << 20, 1 << 20
RECVFROM, RECVMSG, SENDTO, MADVISE, MMAP, CLOSE, CLOCK_GETTIME, SIGRETURN, EXIT_GROUP = (
    45, 47, 44, 28, 9, 3, 228, 15, 231)
IOCTL, PREAD, GETRUSAGE, OPENAT, PRCTL, PPOLL = 16, 17, 98, 257, 157, 271
PAGEMAP_FD, NEXT = 4, 5               # NEXT: what a descriptor would get
SHADOW, ASK = 0x280000000000, 0xC0606610       # ASK: PAGEMAP_SCAN


class Puppet:
    """A worker, stopped; `call` runs one system call in it."""

    SYSCALL, INT80 = 0x050F, 0x80CD     # instructions, as little-endian numbers
    at = {}                             # by zygote's pid: address of a SYSCALL

    def __init__(self, zygote, role=None):
        self.worker = self._builder(zygote) if role == BUILDER else zygote.spawn()
        assert self.worker.receive().type == "ready"
        self.pid = self.worker.pid
        self.regs = Regs()
        # All have one layout: where the first one waits for a frame there is an instruction.
        known = zygote.process.pid in Puppet.at
        if not known:
            self._until(lambda: self._read("syscall").startswith(f"{PPOLL} "))
        ptrace(SEIZE, self.pid, 0, EXITKILL)
        ptrace(INTERRUPT, self.pid)
        assert os.WIFSTOPPED(self._wait())
        ptrace(GETREGS, self.pid, 0, ctypes.addressof(self.regs))
        if not known:
            Puppet.at[zygote.process.pid] = self.regs.rip - 2
        self.text = Puppet.at[zygote.process.pid]
        assert ptrace(PEEKTEXT, self.pid, self.text) & 0xFFFF == self.SYSCALL

    @staticmethod
    def _builder(zygote):
        return zygote.spawn(BUILDER)

    def _read(self, name):
        with open(f"/proc/{self.pid}/{name}", encoding="utf-8") as f:
            return f.read()

    def _until(self, condition):
        end = time.monotonic() + PATIENCE
        while True:
            value = condition()
            if value:
                return value
            assert time.monotonic() < end, "the worker does not get there"
            time.sleep(0.0005)

    def _wait(self):
        """Its next stop, or its end: never for longer than our patience."""
        return self._until(lambda: (lambda pid, status: (status,) if pid else ())(
            *os.waitpid(self.pid, WALL | os.WNOHANG)))[0]

    def call(self, nr, args=(), i386=False):
        """None: it lives; else its exit status, or -signal."""
        a = list(args) + [0] * (6 - len(args))
        r = self.regs
        r.rax, r.orig_rax, r.rip = nr & (2**64 - 1), 2**64 - 1, self.text
        if i386:
            word = ptrace(PEEKTEXT, self.pid, self.text)
            ptrace(POKETEXT, self.pid, self.text, word & ~0xFFFF | self.INT80)
            r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp = a
        else:
            r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9 = a
        ptrace(SETREGS, self.pid, 0, ctypes.addressof(r))
        ptrace(SINGLESTEP, self.pid)
        status = self._wait()
        if os.WIFSTOPPED(status) and os.WSTOPSIG(status) != signal.SIGTRAP:
            # A signal that would end it.
            signum = os.WSTOPSIG(status)
            self.end()
            return -signum
        if os.WIFSTOPPED(status):
            return None
        return os.waitstatus_to_exitcode(status)

    def end(self):
        os.kill(self.pid, signal.SIGKILL)
        while not os.WIFSIGNALED(self._wait()):
            pass


# What wk_*.c call, each with arguments that are let through.
ALLOWED = {
    PPOLL: (2**63, 1, 0, 0, 8),                 # of nothing: it must not wait
    RECVFROM: (3, 2**63, 1, 0, 0, 0),           # to nowhere: likewise
    SENDTO: (3, ARENA, 1, 0x4000, 0, 0),
    MADVISE: (ARENA, ARENA_SIZE, 4),
    CLOCK_GETTIME: (1, ARENA),
    SIGRETURN: (),
    EXIT_GROUP: (7,),
}
FOR_BUILDERS = ALLOWED.keys() - {MADVISE}
# And by the way in which it restores its heap.
USAGE = (GETRUSAGE, (1, ARENA))
ASK_PAGEMAP = (IOCTL, (PAGEMAP_FD, ASK, ARENA))
READ_PAGEMAP = (PREAD, (PAGEMAP_FD, ARENA, 8, 0))
TO_RESTORE = {
    SCAN: [USAGE, ASK_PAGEMAP],
    PAGEMAP: [USAGE, READ_PAGEMAP],
    DROP: [],
}


def arguments(zygote):
    """Each number that a worker may call, with arguments that are let through."""
    return {**dict(TO_RESTORE[zygote.ready["restore"]]), **ALLOWED}


# Decided on before any filter, by kernels that have them.
UPROBES = {335, 336}


def steerable(restore):
    """A zygote whose workers can be; else skip."""
    if SANITIZED:
        pytest.skip("no seccomp in a build with sanitizers")
    if platform.machine() != "x86_64":
        pytest.skip("written for x86-64")
    if not ROOT:
        pytest.skip("only root can steer a process that is not dumpable")
    z = Zygote(required=ALWAYS, restore=restore)
    assert z.failed is None, z.failed
    try:
        Puppet(z).end()
    except OSError as e:
        z.close()
        if e.errno != errno.EPERM:
            raise
        pytest.skip("this machine forbids ptrace")
    return z


@pytest.fixture(scope="module")
def zygote():
    z = steerable(SCAN)
    yield z
    z.close()


def outcome(zygote, nr, args=(), i386=False, role=None):
    p = Puppet(zygote, role)
    result = p.call(nr, args, i386)
    if result is None:
        p.end()
    p.worker.close()
    zygote.workers.remove(p.worker)
    return result


def survives(zygote, nr, args, role=None):
    result = outcome(zygote, nr, args, role=role)
    if nr == EXIT_GROUP:
        return result == args[0]
    if nr == SIGRETURN:                 # there is no signal to return from
        return result in (None, -signal.SIGSEGV)
    return result is None


def sweep(zygote, allowed, numbers, role=None):
    wrong = []
    for nr in numbers:
        if nr in UPROBES:
            continue
        if nr in allowed:
            if not survives(zygote, nr, arguments(zygote)[nr], role):
                wrong.append((nr, "refused"))
        elif outcome(zygote, nr, role=role) != -signal.SIGSYS:
            wrong.append((nr, "survived"))
    assert not wrong


def test_worker_survives_the_calls_that_it_makes_and_no_other(zygote):
    sweep(zygote, arguments(zygote).keys(), range(600))


def test_builder_survives_fewer(zygote):
    """Builders take longer to start; all numbers: tests/unit/test_pol_live.c."""
    numbers = arguments(zygote).keys() | set(range(0, 60, 2)) | {61, PREAD, PRCTL, OPENAT, 317}
    sweep(zygote, FOR_BUILDERS, numbers, BUILDER)


def test_worker_survives_no_x32_call(zygote):
    calls = arguments(zygote)
    results = {nr: outcome(zygote, nr | 0x40000000, calls.get(nr, ())) for nr in range(600)}
    assert [nr for nr, result in results.items() if result != -signal.SIGSYS] == []


def test_worker_survives_no_i386_call(zygote):
    results = {nr: outcome(zygote, nr, i386=True) for nr in range(600)}
    if set(results.values()) == {-signal.SIGSEGV}:
        pytest.skip("this kernel runs no 32-bit calls")
    assert [nr for nr, result in results.items() if result != -signal.SIGSYS] == []


@pytest.mark.parametrize("nr, args", [
    (RECVMSG, (3, 0, 0x40000000)),
    (RECVMSG, (3, 0, 0)),
    (RECVFROM, (0, ARENA, 1, 0, 0, 0)),
    (RECVFROM, (3, ARENA, 1, 2, 0, 0)),
    (RECVFROM, (3, ARENA, 1, 0, ARENA, 0)),
    (RECVFROM, (3, ARENA, 1, 0, 0, ARENA)),
    (PPOLL, (ARENA, 0, 0, 0, 8)),
    (PPOLL, (ARENA, 2, 0, 0, 8)),
    (PPOLL, (ARENA, 1, ARENA, 0, 8)),
    (PPOLL, (ARENA, 1, 0, ARENA, 8)),
    (SENDTO, (3, ARENA, SEND_MAX + 1, 0x4000, 0, 0)),
    (SENDTO, (3, ARENA, 1, 0, 0, 0)),
    (SENDTO, (3, ARENA, 1, 0x4000, ARENA, 16)),
    (SENDTO, (2, ARENA, 1, 0x4000, 0, 0)),
    (MADVISE, (ARENA, ARENA_SIZE * 2, 4)),
    (MADVISE, (ARENA, 4096, 4)),
    (MADVISE, (ARENA, ARENA_SIZE, 8)),
    (MMAP, (ARENA, ARENA_SIZE, 3, 0x12, NEXT, 0)),
    (MMAP, (SHADOW, ARENA_SIZE, 1, 0x12, NEXT, 0)),
    (MMAP, (ARENA, ARENA_SIZE * 2, 3, 0x12, NEXT, 0)),
    (MMAP, (ARENA, ARENA_SIZE, 7, 0x12, NEXT, 0)),
    (MMAP, (ARENA, ARENA_SIZE, 3, 0x11, NEXT, 0)),
    (MMAP, (ARENA, ARENA_SIZE, 3, 0x32, NEXT, 0)),
    (MMAP, (ARENA, ARENA_SIZE, 3, 0x12, NEXT, 4096)),
    (MMAP, (ARENA, ARENA_SIZE, 3, 0x12, PAGEMAP_FD, 0)),
    (MMAP, (ARENA, ARENA_SIZE, 1, 0x12, NEXT, 0)),
    (MMAP, (ARENA + 4096, ARENA_SIZE, 3, 0x12, NEXT, 0)),
    (MMAP, (SHADOW, ARENA_SIZE, 3, 0x12, NEXT, 0)),
    (MMAP, (SHADOW, ARENA_SIZE, 5, 0x12, NEXT, 0)),
    (MMAP, (SHADOW, ARENA_SIZE, 1, 0x11, NEXT, 0)),
    (MMAP, (SHADOW, ARENA_SIZE, 1, 0x12, PAGEMAP_FD, 0)),
    (MMAP, (SHADOW, ARENA_SIZE, 1, 0x12, NEXT, 4096)),
    (MMAP, (SHADOW + 4096, ARENA_SIZE, 1, 0x12, NEXT, 0)),
    (MADVISE, (SHADOW, ARENA_SIZE, 4)),
    (IOCTL, (PAGEMAP_FD, ASK + 1, ARENA)),
    (IOCTL, (PAGEMAP_FD, 0x541B, ARENA)),
    (IOCTL, (NEXT, ASK, ARENA)),
    (IOCTL, (3, ASK, ARENA)),
    (PREAD, (3, ARENA, 8, 0)),
    (PREAD, (NEXT, ARENA, 8, 0)),
    (GETRUSAGE, (2**64 - 1, ARENA)),
    (GETRUSAGE, (0, ARENA)),
    (OPENAT, (PAGEMAP_FD, ARENA, 0x80000)),
    (PRCTL, (4, 1)),                    # PR_SET_DUMPABLE
    (PRCTL, (4, 0)),
    (CLOSE, (3,)),
    (CLOSE, (NEXT,)),
    (CLOSE, (PAGEMAP_FD,)),
    (CLOCK_GETTIME, (2, ARENA)),
])
def test_allowed_calls_with_other_arguments_are_fatal(zygote, nr, args):
    """The filter's parameters are this worker's own."""
    assert outcome(zygote, nr, args) == -signal.SIGSYS


@pytest.mark.parametrize("how", [SCAN, PAGEMAP, DROP])
def test_worker_may_do_what_its_way_to_restore_needs_and_no_other_ways_calls(how):
    z = steerable(how)
    mine = TO_RESTORE[z.ready["restore"]]
    for nr, args in (USAGE, ASK_PAGEMAP, READ_PAGEMAP):
        assert outcome(z, nr, args) == (None if (nr, args) in mine else -signal.SIGSYS), (nr, args)
        assert outcome(z, nr, args, role=BUILDER) == -signal.SIGSYS, (nr, args)
    z.close()


def test_death_of_one_leaves_the_others(zygote):
    other = zygote.spawn()
    assert other.receive().type == "ready"
    p = Puppet(zygote)
    assert p.call(39) == -signal.SIGSYS
    assert p.worker.exit_status() == -signal.SIGSYS
    im = zygote.image("exports.get = function () { return 1; };")
    assert other.invoke(im)["status"] == 200


# -- what a zygote says, and what the kernel says


def proc_status(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return dict((k, v.strip()) for k, _, v in (line.partition(":") for line in f))


def test_layers_that_are_reported_are_in_force():
    z = Zygote(required=ALWAYS)
    assert z.failed is None, z.failed
    w = z.spawn()
    assert w.receive().type == "ready"
    for pid, filters in ((z.process.pid, "1"), (w.pid, "2")):
        st = proc_status(pid)
        assert st["NoNewPrivs"] == "1"
        assert [int(st[c], 16) for c in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == [0] * 4
        if z.ready["layers"] & LAYER["SECCOMP"]:
            assert (st["Seccomp"], st["Seccomp_filters"]) == ("2", filters)
        assert SANITIZED or os.stat(f"/proc/{pid}/status").st_uid == 0      # not dumpable
    assert z.ready["layers"] & ALWAYS == ALWAYS
    assert z.ready["layers"] & (LAYER["PIDNS"] | LAYER["NETNS"] | LAYER["UID"]) == 0
    z.close()


def restore_names():
    with open(os.path.join(SOURCE, "common/options.def"), encoding="utf-8") as f:
        return re.search(r'TN_OPT_ENUM\(restore, "\w+", "(.*?)"', f.read()).group(1).split("|")


@pytest.mark.parametrize("required", [0, ALWAYS], ids=["bare", "sandboxed"])
@pytest.mark.parametrize("how", [SCAN, PAGEMAP, DROP])
def test_worker_restores_in_no_better_way_than_it_may_and_has_a_pagemap_only_for_it(how, required):
    z = Zygote(required=required, restore=how)
    assert z.failed is None, z.failed
    used = z.ready["restore"]
    assert used <= how
    # What this process can, a worker can; Linux before 6.7 cannot scan.
    if os.access("/proc/self/pagemap", os.R_OK) and z.ready["layers"] & LAYER["LANDLOCK"]:
        assert used >= min(how, PAGEMAP)
    im = z.image("var n = 0; exports.get = function () { return ++n; };")
    w = z.spawn()
    assert w.receive().type == "ready"
    for _ in range(5):
        assert w.invoke(im)["body"] == b"1"
    if not SANITIZED:
        assert os.stat(f"/proc/{w.pid}/status").st_uid == 0         # not dumpable
    if ROOT:                            # for others it is closed
        name = "/dev/null" if used == DROP else f"/proc/{w.pid}/pagemap"
        assert os.readlink(f"/proc/{w.pid}/fd/{PAGEMAP_FD}") == name
        builder = Puppet._builder(z)
        assert builder.receive().type == "ready"
        assert os.readlink(f"/proc/{builder.pid}/fd/{PAGEMAP_FD}") == "/dev/null"
        with open(f"/proc/{w.pid}/maps", encoding="ascii") as f:
            shadow = [line.split()[1] for line in f if line.startswith(f"{SHADOW:x}-")]
        assert shadow == ["r--p"]           # of the base, to be read only
    z.close()


def test_one_write_makes_one_page_writable():
    """Huge pages would make many, each to be put back."""
    z = Zygote(required=ALWAYS)
    w = z.spawn()
    assert w.receive().type == "ready"
    assert proc_status(w.pid)["THP_enabled"] == "0"
    z.close()


@pytest.mark.parametrize("how", range(3), ids=restore_names())
def test_server_restores_as_the_option_says_at_best(start, how):
    names = restore_names()
    count = "var n = 0; exports.get = function () { return ++n; };"
    server = start(contracts={"c": {"get.js": count}}, restore=names[how])
    used = names.index(server.status()["restore"])
    assert used <= how
    if os.access("/proc/self/pagemap", os.R_OK) and "landlock" in server.status()["layers"]:
        assert used >= min(how, PAGEMAP)
    assert [server.get("/c").text for _ in range(5)] == ["1"] * 5


@pytest.mark.parametrize("present, required, layer", [
    ((), ("NETNS",), "netns"),
    ((), ("UID",), "uid"),
    (("PIDNS",), (), "pidns"),          # it is not the first process of any
], ids=["netns", "uid", "pidns"])
def test_zygote_without_what_is_required_does_not_start(present, required, layer):
    bits = ALWAYS
    for name in required:
        bits |= LAYER[name]
    z = Zygote(present=sum(LAYER[name] for name in present), required=bits)
    assert z.ready is None
    assert f"sandbox layer {layer}: " in z.failed
    assert z.process.wait(PATIENCE) == 6
    z.close()


@pytest.mark.skipif(not SANITIZED, reason="a build with sanitizers only")
def test_build_without_seccomp_does_not_pretend():
    z = Zygote(required=ALWAYS | LAYER["SECCOMP"])
    assert z.ready is None and "seccomp" in z.failed
    z.close()
