"""The goals, a row each: what is wanted, of which figure, and how that is found among the
results.  A goal is called met or missed only on a figure that may be quoted."""

from collections import namedtuple

from tana_results import METRICS, Key

TANA = "tana-edge"

Goal = namedtuple("Goal", "text find sense limit")
Found = namedtuple("Found", "figure shown ratio")	# shown: of what the figure is made, in words


def verdict(figure, sense, limit):
    if figure.noisy:
        return "noisy"
    met = {">=": figure.value >= limit, "<=": figure.value <= limit, "<": figure.value < limit}[sense]
    return "met" if met else "NOT MET"


def quoted(results, key, metric):
    return f"{results.text(results.figure(key, metric), metric)} {METRICS[metric].unit}".strip()


def ratio(a, b, metric):
    def find(results):
        figure = results.ratio(a, b, metric)
        return figure and Found(figure, f"{quoted(results, a, metric)} / {quoted(results, b, metric)}", True)
    find.keys = (a, b)
    return find


def beside(peer, connections, metric):
    return ratio(Key("hello", connections, TANA), Key("hello", connections, peer), metric)


def absolute(key, metric):
    def find(results):
        figure = results.figure(key, metric)
        return figure and Found(figure, quoted(results, key, metric), False)
    find.keys = (key,)
    return find


def share(key, metric):
    """A figure that is a ratio already."""
    def find(results):
        figure = results.figure(key, metric)
        return figure and Found(figure, "", True)
    find.keys = (key,)
    return find


NJS, PHP, WORKERD = "nginx + njs", "nginx + php-fpm", "workerd"
GOALS = (
    Goal("hello, 32 connections: at least 0.9 of nginx + njs", beside(NJS, 32, "rate"), ">=", 0.9),
    Goal("hello, 256 connections: at least 0.9 of nginx + njs", beside(NJS, 256, "rate"), ">=", 0.9),
    Goal("hello, 32 connections: at least 4 times nginx + php-fpm", beside(PHP, 32, "rate"), ">=", 4),
    Goal("hello, 256 connections: at least 4 times nginx + php-fpm", beside(PHP, 256, "rate"), ">=", 4),
    Goal("hello, 32 connections: at least 5 times workerd", beside(WORKERD, 32, "rate"), ">=", 5),
    Goal("hello, 256 connections: at least 5 times workerd", beside(WORKERD, 256, "rate"), ">=", 5),
    Goal("hello, 32 connections: p99 below nginx + njs's", beside(NJS, 32, "p99"), "<", 1),
    Goal("hello, 1 connection: p50 at most 1.15 of nginx + njs's", beside(NJS, 1, "p50"), "<=", 1.15),
    Goal("hello, 32 connections: at most 16 us of CPU a request", absolute(Key("hello", 32, TANA), "cpu_us"), "<=", 16),
    Goal("hello, 256 connections: at most 16 us of CPU a request", absolute(Key("hello", 256, TANA), "cpu_us"), "<=", 16),
    Goal("fast contract (30 %) beside a slow one (20 %): p99 at most 2 times alone",
         ratio(Key("fair", "fast beside slow", TANA), Key("fair", "fast alone", TANA), "p99"), "<=", 2),
    Goal("others beside one that floods at 10 times its share: p99 at most 2 times alone",
         ratio(Key("fair", "others beside a flood", TANA), Key("fair", "others alone", TANA), "p99"), "<=", 2),
    Goal("at 200 % load: goodput at least 0.9 of the peak", share(Key("overload", 2.0, TANA), "of_peak"), ">=", 0.9),
    Goal("at 200 % load: refusals answered within 5 ms (p99)", absolute(Key("overload", "200 %, short queue", TANA), "refused_p99"), "<=", 5),
    Goal("from 200 to 50 % load: recovered within 1 s", absolute(Key("overload", "after 200 %", TANA), "recovery_ms"), "<=", 1000),
    Goal("2,000 idle connections: under 20 MB in the front", absolute(Key("memory", "front, 2000 idle", TANA), "mb"), "<", 20),
)


def unmeasured(goal, results, chosen, without):
    """Why there is no figure."""
    for key in goal.find.keys:
        if key.scenario not in chosen:
            return f"{key.scenario} was not asked for"
        if key in results.skipped:
            return results.skipped[key]
        if key.subject in without:
            return f"{key.subject}: {without[key.subject]}"
        if key not in results.samples:
            return f"{key.subject} took no part"
    if any("refused" in s["values"] and not s["values"]["refused"] for s in results.samples[goal.find.keys[0]]):
        return "nothing was refused"
    return "no figure"


def rows(results, chosen, without):
    """A dict each: goal, figure, ratio, verdict, why."""
    made = []
    for g in GOALS:
        found = g.find(results)
        row = {"goal": g.text, "sense": g.sense, "limit": g.limit, "value": None, "figure": "", "ratio": "", "why": ""}
        if found is None:
            row |= {"verdict": "not measured", "why": unmeasured(g, results, chosen, without)}
        else:
            f = found.figure
            row |= {"verdict": verdict(f, g.sense, g.limit), "why": "; ".join(f.noisy), "value": f.value, "low": f.low,
                    "high": f.high, "rounds": f.rounds, "figure": found.shown}
            if found.ratio:
                row["ratio"] = "noisy" if f.noisy else f"{f.value:.2f}"
        made.append(row)
    return made
