"""What is measured, in the order of SCENARIOS, each with a function that does it.

A function takes the context: `c.plan` says how long and how often, `c.measure` does one round,
watched, and again if it was disturbed.  Within a round all candidates take turns.
"""

import contextlib
import resource
import shutil
import socket
import statistics
import subprocess
import time
from collections import namedtuple
from dataclasses import dataclass

from tana_bench import (HELLO, HELLO_WAITS, RANDOM_WRK, Connection, Tana, all_serve, ask_each, die, first_answers,
                        hellos, kills, paced, rollup, rss, wrk)
from tana_noise import Watch, disturbances
from tana_peers import Edge, Php, PhpKept, check, orders, text64k
from tana_results import Key

TANA = "tana-edge"


@dataclass
class Plan:
    rounds: int			# of what the goals speak of
    few: int			# of the rest
    seconds: int		# of a round
    starts: int			# of each server, for its cold start
    loads: tuple		# shares of each one's capacity
    contracts: tuple
    workers: tuple
    events: int			# deaths, deployments, contracts asked for the first time (times 5)
    extra: float		# seconds, in all, for rounds that are measured again


QUICK = Plan(rounds=2, few=1, seconds=1, starts=2, loads=(0.4, 0.8), contracts=(1, 100, 1000), workers=(1, 2, 4, 8),
             events=5, extra=15)
FULL = Plan(rounds=5, few=3, seconds=5, starts=5, loads=(0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0), contracts=(1, 100, 10000),
            workers=(1, 2, 4, 8, 16), events=20, extra=300)


class Context:
    def __init__(self, results, plan, peers, build, where, say):
        self.results, self.plan, self.peers, self.build, self.where, self.say = results, plan, peers, build, where, say
        self.field = None		# {name: server}: all peers, started when first wanted
        self.stack = contextlib.ExitStack()
        self.extra = plan.extra
        self.quick = plan is QUICK
        self.serial = 0

    # -- servers

    def servers(self):
        """All peers at a time; those whose turn it is not idle, and are watched."""
        if self.field is None:
            self.say("starting all servers, comparing their answers")
            self.field = {p.name: self.stack.enter_context(p.make(f"field {k}", self.where, self.build))
                          for k, p in self.peers.items()}
            check(self.field.values())
            for s in self.field.values():
                wrk(s.port, 32, 1)		# warm: compilers, pools
        return self.field

    def close(self):
        self.stack.close()
        self.stack, self.field = contextlib.ExitStack(), None

    def tana(self, contracts=None, **options):
        self.serial += 1
        return Tana(f"tana {self.serial}", self.where, self.build, contracts, **options)

    def document(self, name, text):
        path = self.where / name
        path.write_text(text)
        return path

    # -- measuring

    def measure(self, key, server, work):
        """One round: work() returns values; if it answers "requests", the server's processor time
        is shared out among them."""
        for again in (1, 1, 0):
            begun = time.monotonic()
            with Watch(server) as w:
                values = work()
            self.results.calibrations.append(w.noise["calibration_ms"])
            if values.get("requests"):
                values["cpu_us"] = w.cpu / values.pop("requests") * 1e6
            took = time.monotonic() - begun
            why = disturbances(w.noise, self.results.best)
            if not again or not why or self.extra < took:
                break
            self.extra -= took
            self.results.discarded.append({"key": list(key), "values": values, "noise": w.noise, "why": why})
        self.results.add(key, values, w.noise)
        return values

    def several(self, key, server, work, metric="ms"):
        """work() returns many values at once; each counts as a round."""
        with Watch(server) as w:
            values = work()
        self.results.calibrations.append(w.noise["calibration_ms"])
        for v in values:
            self.results.add(key, {metric: v}, w.noise)

    def drive(self, server, connections, seconds, path="/hello", script=None):
        """wrk, as values."""
        done = self.where / "done.lua"
        done.write_text((script or "") + WRK_DONE)
        r = wrk(server.port, connections, seconds, path, script=done)
        return {"rate": r["rate"], "p50": r["p50"], "p99": r["p99"], "p99_9": float(r["stderr"].split()[-1]) / 1e3,
                "errors": r["errors"], "requests": r["requests"]}

    def paced(self, *targets, **options):
        return paced(self.build, targets, **options)

    def capacity(self, scenario, point, server, subject, path="/hello", connections=64):
        """Answers a second of a server that always has a request waiting on each connection."""
        def work():
            # Requests that come to nothing at once make no backlog, which would never leave the warm-up.
            r = self.paced(("c", server.port, path, 1e6, connections), seconds=max(1, self.plan.seconds / 2), warm=0.2,
                           give_up=20)["c"]
            if not r["goodput"]:
                die(f"{server.name} answers nothing on {path}: {r['statuses']} {r['failed']}")
            return {"goodput": r["goodput"], "requests": r["answers"]}
        key = Key(scenario, point, subject)
        self.results.rests[scenario, subject].append(key)
        rate = statistics.median(self.measure(key, server, work)["goodput"] for _ in range(self.plan.few))
        self.say(f"{point}: {subject} {rate:,.0f} req/s")
        return rate

    def note(self, scenario, text):
        self.results.facts[scenario].append(text)


WRK_DONE = """
function done(summary, latency, requests)
	io.stderr:write(string.format("%f\\n", latency:percentile(99.9)))
end
"""
WRK_POST = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "text/plain"
local f = io.open("%s", "rb")
wrk.body = f:read("*a")
f:close()
"""


def values_of(target):
    """What paced says of a target, as values."""
    latency = target["latency_ms"]
    values = {k: latency["from_due"][k] for k in ("p50", "p99", "p99_9")} if latency["from_due"]["count"] else {}
    if latency["refused_from_sent"]["count"]:
        values["refused_p99"] = latency["refused_from_sent"]["p99"]
    return {**values, "goodput": target["goodput"], "refused": target["refused"], "given_up": target["given_up"],
            "errors": sum(target["failed"].values()) + sum(n for s, n in target["statuses"].items() if s not in ("200", "503")),
            "requests": target["answers"]}


# Memory does not depend on what else the machine does.
UNDISTURBED = {"calibration_ms": 0.0, "foreign": 0.0, "steal": 0.0, "busiest": ""}


# -- beside others ------------------------------------------------------------------

def start(c):
    """From exec to the first answer; then its memory after a second of 32 clients."""
    for i in range(c.plan.starts):
        for k, p in c.peers.items():
            c.say(f"cold start {i + 1}/{c.plan.starts}: {p.name}")
            server = p.make(f"start {k} {i}", c.where, c.build)

            def first():
                begun = time.perf_counter()
                server.start()
                server.wait(turn=0.001)
                return {"ms": (time.perf_counter() - begun) * 1e3}
            try:
                with Watch(server) as w:
                    values = first()
                c.results.calibrations.append(w.noise["calibration_ms"])
                if i < c.plan.few:
                    wrk(server.port, 32, 1)
                    try:
                        mb = sum(rollup(pid)["Pss"] for pid in server.family()) / 1024
                    except PermissionError:
                        c.results.skipped["memory of other users' processes"] = "needs root"
                    else:
                        c.results.add(Key("memory", "after 32 clients", p.name), {"mb": mb}, UNDISTURBED)
                c.results.add(Key("start", "", p.name), values, w.noise)
            finally:
                server.stop()
                shutil.rmtree(server.dir, ignore_errors=True)


def saturate(c, scenario, path, connections, rounds, script=None):
    for n in connections:
        for i in range(rounds if n < 1000 else c.plan.few):
            for name, server in c.servers().items():
                v = c.measure(Key(scenario, n, name), server,
                              lambda: c.drive(server, n, c.plan.seconds, path, script))  # noqa: B023
                c.say(f"{scenario}, {n} connection{'s' * (n > 1)}, round {i + 1}: {name} {v['rate']:,.0f} req/s")


def hello(c):
    saturate(c, "hello", "/hello", (1, 32, 256, 2000), c.plan.rounds)


def json_work(c):
    saturate(c, "json", "/json", (32,), c.plan.few, WRK_POST % c.document("orders", orders()))


def body(c):
    saturate(c, "body", "/body", (32,), c.plan.few, WRK_POST % c.document("text", text64k()))


def compute(c):
    saturate(c, "compute", "/compute", (32,), c.plan.few)


def load(c):
    """Each at shares of what it can do by itself, 64 connections, latency from when a request was due."""
    most = {name: c.capacity("load", "capacity", s, name) for name, s in c.servers().items()}
    for share in c.plan.loads:
        for i in range(min(2, c.plan.few)):
            for name, server in c.servers().items():
                rate = share * most[name]

                def work():
                    r = c.paced(("l", server.port, "/hello", rate, 64), seconds=c.plan.seconds, warm=0.2)["l"]  # noqa: B023
                    return {**values_of(r), "offered": rate}  # noqa: B023
                v = c.measure(Key("load", share, name), server, work)
                c.say(f"{share:.0%} of capacity, round {i + 1}: {name} {v['p99']:.2f} ms p99 at {rate:,.0f} req/s")


# -- tana-edge by itself --------------------------------------------------------------

def contracts(c):
    with contextlib.ExitStack() as stack:
        servers = {}
        for n in c.plan.contracts:
            c.say(f"starting with {n} contracts, asking each once")
            servers[n] = stack.enter_context(c.tana(hellos(n)))
            servers[n].wait("/c00000")
            ask_each(servers[n], n)
        for i in range(max(2, c.plan.few)):
            for n, s in servers.items():
                v = c.measure(Key("contracts", n, TANA), s, lambda: c.drive(s, 32, c.plan.seconds, script=RANDOM_WRK % n))  # noqa: B023
                c.say(f"{n} contracts asked at random, round {i + 1}: {v['rate']:,.0f} req/s")


def workers(c):
    with contextlib.ExitStack() as stack:
        servers = {n: stack.enter_context(c.tana({"hello": HELLO}, workers_min=n, workers_max=n)) for n in c.plan.workers}
        for s in servers.values():
            s.wait()
        for i in range(c.plan.few):
            for n, s in servers.items():
                v = c.measure(Key("workers", n, TANA), s, lambda: c.drive(s, 32, c.plan.seconds))  # noqa: B023
                c.say(f"{n} workers, round {i + 1}: {v['rate']:,.0f} req/s")


def modes(c):
    """The isolation modes, beside php-fpm in both of its ways."""
    with contextlib.ExitStack() as stack:
        servers = {m: Edge(f"mode {m}", c.where, c.build, isolation=m) for m in ("snapshot", "process", "reuse", "fresh")}
        if "php" in c.peers:
            servers["nginx + php-fpm"] = Php("mode php", c.where, c.build)
            servers["same, connections kept"] = PhpKept("mode kept", c.where, c.build)
        for s in servers.values():
            stack.enter_context(s)
        for name, s in servers.items():
            s.wait()
            if name != "fresh":
                wrk(s.port, 32, 1)
        for i in range(c.plan.few):
            for name, s in servers.items():
                # A fresh heap takes a second or more when 32 wait for one.
                seconds = max(5, c.plan.seconds) if name == "fresh" else c.plan.seconds
                v = c.measure(Key("modes", 32, name), s, lambda: c.drive(s, 32, seconds))  # noqa: B023
                c.say(f"isolation {name}, round {i + 1}: {v['rate']:,.0f} req/s")


def events(c):
    """A contract never asked for, a deployment, a worker's death: each to the next answer."""
    n = 5 * c.plan.events
    with c.tana({"hello": HELLO, **hellos(n)}) as s:
        s.wait()
        c.say(f"{n} contracts that were never asked for")
        c.several(Key("events", "cold contract", TANA), s, lambda: first_answers(s, n))
        c.say(f"{c.plan.events} deployments")
        source = c.where / "greeting.ts"

        def deploy(i):
            source.write_text("export function get() { return { message: 'Hello, number %d!' }; }\n" % i)
            begun = time.perf_counter()
            done = subprocess.run([c.build / "tana", "deploy", source, "--id", f"new-{i}", "--contracts", s.contracts,
                                   "--reload", s.dir / "run/control.sock"], capture_output=True, text=True)
            if done.returncode != 0:
                die(f"tana deploy: {done.stderr or done.stdout}")
            s.wait(f"/new-{i}", turn=0.001)
            return (time.perf_counter() - begun) * 1e3
        c.several(Key("events", "deploy to first answer", TANA), s, lambda: [deploy(i) for i in range(min(10, c.plan.events))])
    for standby in (1, 0):
        point = f"worker killed, {standby or 'no'} standby"
        with c.tana({"hello": HELLO}, workers_min=1, workers_max=1, workers_standby=standby) as s:
            c.say(point)
            with Watch(s) as w:
                times = kills(s, c.plan.events)
            if not times:
                c.results.skipped[Key("events", point, TANA)] = "needs root to kill a worker"
            for ms in times:
                c.results.add(Key("events", point, TANA), {"ms": ms}, w.noise)


def memory(c):
    """Of tana-edge: all processes, each worker having served; the front with idle connections."""
    for n in (4, 100):
        c.say(f"memory with {n} workers")
        with c.tana({"hello": HELLO_WAITS}, workers_min=n, workers_max=n) as s:
            all_serve(s, n)
            time.sleep(0.3)
            try:
                mb = sum(rollup(pid)["Pss"] for pid in s.family()) / 1024
            except PermissionError:
                c.results.skipped[Key("memory", f"{n} workers", TANA)] = "needs root"
            else:
                c.results.add(Key("memory", f"{n} workers", TANA), {"mb": mb}, UNDISTURBED)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    n = 2000
    if hard != resource.RLIM_INFINITY and hard < n + 200:
        c.results.skipped[Key("memory", "front, 2000 idle", TANA)] = f"this process may have only {hard} descriptors"
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, n + 200), hard))
    c.say(f"memory of the front with {n} idle connections")
    with c.tana({"hello": HELLO}) as s:
        s.wait()
        front = s.front()
        c.results.add(Key("memory", "front, none", TANA), {"mb": rss(front) / 1024}, UNDISTURBED)
        with contextlib.ExitStack() as stack:
            for _ in range(n):
                k = stack.enter_context(socket.create_connection(("127.0.0.1", s.port), timeout=10))
                k.sendall(b"GET /hello HTTP/1.1\r\nHost: t\r\n\r\n")
                if not k.recv(4096).startswith(b"HTTP/1.1 200 "):
                    die("an idle connection was not answered 200")
            c.results.add(Key("memory", "front, 2000 idle", TANA), {"mb": rss(front) / 1024}, UNDISTURBED)


# -- others in the way ------------------------------------------------------------------

SLOW = """exports.Get = function (req) {
	var n = Number(req.query.n), i, x = 0;

	for (i = 0; i < n; i++)
		x = (x * 31 + i) % 65521;
	return x;
};"""
NEIGHBOURS = ("a", "b", "c", "d")


def loops_of(server, ms):
    """How often SLOW must loop to take so long, when nothing else is in its way."""
    connection = Connection(server)

    def least(n):
        return min(connection.get(f"/slow?n={n}")[1] for _ in range(15))
    n = 100000
    return int(n * ms / max(0.01, least(n) - least(0)))


def fair(c):
    """A slow contract beside a fast one; a flood beside four that keep to half their share."""
    seconds = max(1.5, c.plan.seconds)
    with c.tana({"fast": HELLO, "slow": SLOW, "flood": HELLO, **{n: HELLO for n in NEIGHBOURS}}) as s:
        for name in ("fast", "flood", *NEIGHBOURS):
            s.wait(f"/{name}")
        slow = f"/slow?n={loops_of(s, 5)}"
        wrk(s.port, 32, 1, "/fast")
        fast_most = c.capacity("fair", "capacity, fast", s, TANA, "/fast")
        slow_most = c.capacity("fair", "capacity, slow", s, TANA, slow, 16)
        c.note("fair", "slow: 5 ms of CPU a request; beside it, 20 % of its capacity and 30 % of the fast one's are asked for")
        fast = ("fast", s.port, "/fast", 0.3 * fast_most, 64)
        beside = ("slow", s.port, slow, 0.2 * slow_most, 64)
        share = fast_most / (len(NEIGHBOURS) + 1)
        others = [(n, s.port, f"/{n}", share / 2, 32) for n in NEIGHBOURS]
        flood = ("flood", s.port, "/flood", 10 * share, 256)
        c.note("fair", "others: a fifth of the capacity is a share, of which each of four asks for half; the flood asks for ten shares")

        def run(names, *targets):
            r = c.paced(*targets, seconds=seconds, warm=0.3)
            values = [values_of(r[n]) for n in names]
            return {**{k: max(v.get(k, 0) for v in values) for k in ("p50", "p99", "p99_9")},
                    "goodput": sum(v["goodput"] for v in values), "errors": sum(v["errors"] for v in values),
                    "refused": sum(v["refused"] for v in values)}
        for i in range(c.plan.rounds):
            for point, names, targets in (("fast alone", ["fast"], [fast]), ("fast beside slow", ["fast"], [fast, beside]),
                                          ("others alone", NEIGHBOURS, others), ("others beside a flood", NEIGHBOURS, [*others, flood])):
                v = c.measure(Key("fair", point, TANA), s, lambda: run(names, *targets))  # noqa: B023
                c.say(f"{point}, round {i + 1}: p99 {v['p99']:.2f} ms")


def recovery(timeline, step_down_ms, window_ms):
    """ms from the step down until the end of the last interval in which something was refused,
    failed or took 10 ms in the mean."""
    last = 0.0
    for i, w in enumerate(timeline):
        end = (i + 1) * window_ms
        if end > step_down_ms and (w["refused"] or w["failed"] or w["mean_ms"] > 10):
            last = end - step_down_ms
    return last


SHORT_QUEUE = 64


def overload(c):
    """50 to 200 % of capacity by a thousand clients, who give up after 200 ms of not getting
    through; then a step from 200 to 50 %."""
    seconds, window = max(1, c.plan.seconds * 0.6), 100
    with c.tana({"hello": HELLO}) as s, c.tana({"hello": HELLO}, contract_queue_max=SHORT_QUEUE) as short:
        for each in (s, short):
            each.wait()
            wrk(each.port, 32, 1)
        most = c.capacity("overload", "capacity", s, TANA)
        c.note("overload", "after 200 %: a recovery of 2,000 ms or more was not seen, only two seconds are looked at")
        c.note("overload", f"short queue: of a thousand clients no more than {SHORT_QUEUE} may wait, so that others are refused")
        c.note("overload", "100 % is the capacity: 64 connections that always have a request; of the peak: of the best of 50 to 150 %")
        for i in range(c.plan.rounds):
            peak = 0.0
            for share in (0.5, 1.0, 1.5, 2.0):
                def work():
                    r = c.paced(("o", s.port, "/hello", share * most, 1000), seconds=seconds, warm=0.3, give_up=200)["o"]  # noqa: B023
                    v = values_of(r)
                    return {**v, **({"of_peak": v["goodput"] / peak} if share == 2.0 else {})}  # noqa: B023
                v = c.measure(Key("overload", share, TANA), s, work)
                peak = max(peak, v["goodput"])
                c.say(f"{share:.0%} of capacity, round {i + 1}: {v['goodput']:,.0f} req/s answered, {v['refused']:,} refused")

            def refuse():
                return values_of(c.paced(("o", short.port, "/hello", 2 * most, 1000), seconds=seconds, warm=0.3, give_up=200)["o"])  # noqa: B023
            v = c.measure(Key("overload", "200 %, short queue", TANA), short, refuse)
            c.say(f"200% of capacity, short queue, round {i + 1}: {v['goodput']:,.0f} req/s answered, {v['refused']:,} refused")

            def step():
                r = c.paced(("o", s.port, "/hello", most, 1000), steps=f"2:{seconds},0.5:2", timeline=window, warm=0.2, give_up=200)["o"]
                v = values_of(r)
                return {"recovery_ms": recovery(r["timeline"], seconds * 1e3, window), "refused": v["refused"],
                        "errors": v["errors"], "timeline": r["timeline"]}
            v = c.measure(Key("overload", "after 200 %", TANA), s, step)
            c.say(f"from 200 to 50 %, round {i + 1}: recovered within {v['recovery_ms']:.0f} ms")


# quick, full: seconds that it takes, for the progress shown.  field: it wants all peers at a time.
Scenario = namedtuple("Scenario", "name title run quick full field wrk")
SCENARIOS = (
    Scenario("start", "Cold start (exec to first answer)", start, 16, 40, False, True),
    Scenario("hello", "hello, by connections", hello, 63, 580, True, True),
    Scenario("json", "JSON work: 19 KB parsed, summed up, answered", json_work, 7, 95, True, True),
    Scenario("body", "64 KB of text in and out", body, 7, 95, True, True),
    Scenario("compute", "Heavy computation: where a compiler to machine code wins", compute, 7, 95, True, True),
    Scenario("load", "Latency against load (shares of each one's capacity)", load, 22, 470, True, False),
    Scenario("contracts", "Contracts asked at random, 32 connections", contracts, 10, 110, False, True),
    Scenario("workers", "Workers, 32 connections", workers, 6, 85, False, True),
    Scenario("modes", "Isolation modes, 32 connections", modes, 17, 110, False, True),
    Scenario("events", "From an event to the next answer", events, 5, 20, False, False),
    Scenario("memory", "Memory: all processes (sum of Pss), or the front (resident)", memory, 5, 8, False, False),
    Scenario("fair", "Slow beside fast; a flood beside others (worst p99)", fair, 20, 125, False, True),
    Scenario("overload", "Overload: shares of capacity, 1,000 clients", overload, 17, 100, False, True),
)
