"""How quiet the machine was while something was measured, and whether the figure may be
quoted.  Nothing here decides by the figure whether a round counts, but by what else the
machine did meanwhile; and how far rounds differ decides about the figure as a whole."""

import hashlib
import math
import os
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

from tana_bench import descendants, processes

# A round in which more than this happened is disturbed.
FOREIGN = 0.05		# share of all cores that processes used which do not belong to it
STEAL = 0.02		# share of all cores that the hypervisor kept
SLOWER = 0.15		# of the calibration loop, against the run's quickest tenth

CORES = os.cpu_count() or 1


def calibrate():
    """ms that a fixed piece of work takes, which needs no memory and no kernel."""
    data, times = b"tana" * (1 << 19), []
    for _ in range(7):
        start = time.perf_counter()
        hashlib.sha256(data).digest()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def steal():
    """Seconds, of all cores together."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK") if len(fields) > 8 else 0.0


class Watch:
    """with Watch(server) as w: what happens; then w.cpu: seconds that the server's processes
    used, and w.noise.  The load generator is a child that was waited for, so its time is in
    this process's; all others but kernel threads are foreign, servers that idle included."""

    def __init__(self, server=None):
        self.server = server

    def look(self):
        table = processes()
        ours = set(descendants(table, [p.pid for p in self.server.processes])) if self.server else set()
        return time.monotonic(), steal(), table, ours

    def __enter__(self):
        self.calibration = calibrate()
        self.begin = self.look()
        return self

    def __exit__(self, *_):
        begun, steal_before, before, ours = self.begin
        ended, steal_after, after, ours_after = self.look()
        ours |= ours_after
        seconds = max(ended - begun, 1e-3)

        def used(pids):
            return sum(after[p].cpu for p in pids if p in after) - sum(before[p].cpu for p in pids if p in before)
        self.cpu = used(ours)
        others = [p for p in set(before) | set(after) if p not in ours and p != os.getpid()
                  and not (after.get(p) or before[p]).kernel]
        each = {p: after[p].own - (before[p].own if p in before and before[p].start == after[p].start else 0)
                for p in others if p in after}
        busiest = max(each, key=each.get, default=None)
        # The sums miss who ended unwaited for; what is left misses who ended.
        foreign = max(used(others), sum(each.values()))
        self.noise = {"calibration_ms": self.calibration,
                      "foreign": foreign / seconds / CORES,
                      "steal": (steal_after - steal_before) / seconds / CORES,
                      "busiest": f"{after[busiest].name}[{busiest}]" if busiest and each[busiest] > 0 else ""}


def quickest(calibrations):
    """What the calibration loop takes on this machine when nothing slows it: the run's tenth."""
    return sorted(calibrations)[len(calibrations) // 10]


def disturbances(noise, best):
    """Why a round does not count; empty: it does."""
    why = []
    if noise["foreign"] > FOREIGN:
        name = f", {noise['busiest']} most" if noise.get("busiest") else ""
        why.append(f"other processes used {noise['foreign']:.0%} of the machine (limit {FOREIGN:.0%}{name})")
    if noise["steal"] > STEAL:
        why.append(f"the hypervisor kept {noise['steal']:.0%} of the machine (limit {STEAL:.0%})")
    if best and noise["calibration_ms"] > best * (1 + SLOWER):
        why.append(f"a fixed piece of work took {noise['calibration_ms'] / best - 1:.0%} longer than at best (limit {SLOWER:.0%})")
    return why


@dataclass
class Figure:
    """The median of rounds, how far they differ, and why it may not be quoted, if so."""
    value: float
    low: float
    high: float
    rounds: int
    noisy: list = field(default_factory=list)

    def scaled(self, by):
        return Figure(self.value * by, self.low * by, self.high * by, self.rounds, self.noisy)


def spread(values):
    """What the middle half of the rounds spans, as a share of their median."""
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    middle = statistics.median(values)
    return (high - low) / abs(middle) if middle else math.inf if high > low else 0.0


def judge(rounds, limit):
    """rounds: [(value, reasons for which it does not count)].  limit: the spread (quartiles,
    by the median) above which rounds agree too little.  At least half of the rounds, and two
    of several, must have been undisturbed; the figure is made of those."""
    clean = [v for v, why in rounds if not why]
    need = max(math.ceil(len(rounds) / 2), min(2, len(rounds)))
    used = clean if len(clean) >= need else [v for v, _ in rounds]
    figure = Figure(statistics.median(used), min(used), max(used), len(used))
    if len(clean) < need:
        first = next(why[0] for _, why in rounds if why)
        figure.noisy.append(f"{len(rounds) - len(clean)} of {len(rounds)} rounds were disturbed: {first}")
    if spread(used) > limit:
        figure.noisy.append(f"rounds differ by {spread(used):.0%} (quartiles; limit {limit:.0%})")
    return figure
