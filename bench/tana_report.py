"""The report: text for a person, JSON for programs, plots."""

import json
from collections import Counter

import tana_noise
from tana_results import METRICS, Key
from tana_scenarios import SCENARIOS, TANA

HEADS = {"rate": "req/s", "goodput": "answered/s", "p50": "p50 ms", "p99": "p99 ms", "p99_9": "p99.9 ms", "cpu_us": "CPU us/req",
         "ms": "ms", "mb": "MB", "refused": "refused", "given_up": "given up", "refused_p99": "refused p99", "recovery_ms": "recovery ms",
         "of_peak": "of the peak", "errors": "errors"}
FIRST = {"rate", "goodput", "ms", "mb"}		# of these the range of the rounds is shown


def table(head, rows):
    """Columns as wide as they must be: the first to the left, numbers to the right."""
    rows = [[str(x) for x in r] for r in [head, *rows]]
    wide = [max(len(r[i]) for r in rows) for i in range(len(head))]
    return "\n".join("  " + "  ".join(x.ljust(w) if i == 0 else x.rjust(w) for i, (x, w) in enumerate(zip(r, wide))).rstrip()
                     for r in rows)


def name_of(point):
    return f"{point:.0%}" if isinstance(point, float) else f"{point:,}" if isinstance(point, int) else point


def scenario(results, s):
    points, subjects = results.points(s.name), results.subjects(s.name)
    keys = [Key(s.name, p, x) for p in points for x in subjects if Key(s.name, p, x) in results.samples]
    metrics = [m for m in HEADS if any(results.has(k, m) for k in keys)]
    happened = {m for k in keys for r in results.samples[k] for m, v in r["values"].items() if v}
    metrics = [m for m in metrics if m not in ("errors", "refused", "given_up") or m in happened]
    main = next((m for m in metrics if m in FIRST), metrics[0])
    beside = len(subjects) > 1 and TANA in subjects
    head = ["", *(HEADS[m] for m in metrics)]
    at = 1 + metrics.index(main) + 1
    head[at:at] = ["least", "most"] + (["tana-edge is"] if beside else [])
    rows = []
    for k in keys:
        label = " ".join(x for x in ((name_of(k.point) if len(points) > 1 else ""), (k.subject if len(subjects) > 1 else "")) if x)
        figures = {m: results.figure(k, m) for m in metrics}
        row = [label or k.subject, *(results.text(figures[m], m) for m in metrics)]
        f = figures[main]
        quote = f and not f.noisy and f.rounds > 1
        more = [METRICS[main].format(v) if quote else "" for v in ((f.low, f.high) if f else (0, 0))]
        if beside:
            r = results.ratio(Key(s.name, k.point, TANA), k, main) if k.subject != TANA else None
            more.append("" if r is None else "noisy" if r.noisy else f"{r.value:.2f} x")
        row[at:at] = more
        rows.append(row)
    notes = [f"  ({n})" for n in results.facts[s.name]]
    return "\n".join([s.title, table(head, rows), *notes])


# What reasons of tana_noise have in them, and what they are called together.
KINDS = {"other processes": "rounds were disturbed by other processes", "hypervisor": "rounds were disturbed by the hypervisor",
         "fixed piece": "the processor was slower", "rounds differ": "rounds differ too much"}


def noise(results):
    """What could not be quoted, and why; what the machine did."""
    reasons = Counter()
    for k, samples in results.samples.items():
        for m in {m for s in samples for m in s["values"] if m in METRICS}:
            figure = results.figure(k, m)
            reasons.update({KINDS[kind] for why in figure.noisy for kind in KINDS if kind in why})
    if not results.calibrations:
        return "  Nothing was measured that depends on it."
    cal = sorted(results.calibrations)
    shares = [s["noise"]["foreign"] for v in results.samples.values() for s in v]
    steals = [s["noise"]["steal"] for v in results.samples.values() for s in v]
    lines = [f"  A fixed piece of work took {results.best:.2f} ms at best (tenth), {cal[len(cal) // 2]:.2f} in the median, {cal[-1]:.2f} at most.",
             f"  Other processes used {sum(shares) / len(shares):.1%} of the machine in the mean of all rounds, {max(shares):.1%} at most; "
             f"the hypervisor kept {max(steals):.1%} at most.",
             f"  {len(results.discarded)} disturbed rounds were measured again."]
    if reasons:
        lines.append("  noisy: a figure that is not quoted, since rounds were disturbed (other processes above "
                     f"{tana_noise.FOREIGN:.0%} of the")
        lines.append(f"  machine, the hypervisor above {tana_noise.STEAL:.0%}, the fixed work {tana_noise.SLOWER:.0%} slower) or "
                     "differ too much. How many figures, and why:")
        lines += [f"  {n:5}  {why}" for why, n in reasons.most_common()]
        lines.append("  What was read all the same stands in report.json, as not quotable.")
    else:
        lines.append("  No figure was too noisy to be quoted.")
    return "\n".join(lines)


def goal_table(goals):
    lines = ["Goals"]
    for g in goals:
        figure = ": ".join(x for x in (g["ratio"], g["figure"]) if x) if g["value"] is not None else ""
        if g["verdict"] == "noisy":
            figure = ""
        lines.append(f"  {g['verdict']:13} {g['goal']:84} {figure}".rstrip())
        if g["why"]:
            # All of it is in the JSON.
            lines.append(f"  {'':13} ({g['why'].split('; ')[0]})")
    return "\n".join(lines)


def skipped(what):
    return ", ".join(map(str, what)) if isinstance(what, Key) else what


def text(run, results, goals):
    parts = [f"tana-edge beside others: {run['date']}, {'quick' if run['quick'] else 'full'} run, {run['minutes']:.1f} minutes",
             "\n".join(f"  {k:10} {v}" for k, v in run["machine"].items()),
             "\n".join(f"  {k:16} {v}" for k, v in run["versions"].items())]
    parts += ["Not measured beside:\n" + "\n".join(f"  {k}: {v}" for k, v in run["without"].items())] if run["without"] else []
    parts.append("Load generators (wrk -t1; paced, which counts latency from when a request was due) and servers share the\n"
                 "machine's cores. Figures are medians of rounds in turns; only ratios of one run mean anything elsewhere.\n"
                 "CPU is the servers' alone. tana-edge gives each request a fresh heap, sandbox on; so does nginx + njs, without\n"
                 "one; workerd (one thread), Deno and Node keep one heap for all requests.")
    parts += [scenario(results, s) for s in SCENARIOS if results.points(s.name)]
    if results.skipped:
        parts.append("Not measured:\n" + "\n".join(f"  {skipped(what)}: {why}" for what, why in results.skipped.items()))
    if results.samples:
        parts.append("The machine's noise\n" + noise(results))
    parts.append(goal_table(goals))
    parts += [f"bench/{name}\n" + "\n".join("  " + line for line in done["text"].splitlines()) for name, done in run["also"].items()]
    return "\n\n".join(parts) + "\n"


def document(run, results, goals):
    figures = []
    for k in results.samples:
        for m in sorted({m for s in results.samples[k] for m in s["values"] if m in METRICS}):
            f = results.figure(k, m)
            figures.append({**k._asdict(), "metric": m, "unit": METRICS[m].unit, "median": f.value, "least": f.low,
                            "most": f.high, "rounds": f.rounds, "quotable": not f.noisy, "why": f.noisy})
    rounds = [{**k._asdict(), **s} for k, v in results.samples.items() for s in v]
    limits = {"foreign": tana_noise.FOREIGN, "steal": tana_noise.STEAL, "slower": tana_noise.SLOWER,
              "spread": {m: v.spread for m, v in METRICS.items() if v.spread != float("inf")}}
    return {**run, "goals": goals, "limits": limits, "figures": figures, "rounds": rounds, "discarded": results.discarded,
            "facts": results.facts, "skipped": {skipped(k): v for k, v in results.skipped.items()}}


# -- plots ---------------------------------------------------------------------

COLOURS = {TANA: "#c0392b", "nginx + njs": "#1f6f3f", "nginx + php-fpm": "#6c5fa7", "workerd": "#e08e0b", "Deno": "#2b6cb0",
           "Node": "#7a7a7a"}
MARKERS = {TANA: "o", "nginx + njs": "s", "nginx + php-fpm": "^", "workerd": "D", "Deno": "v", "Node": "P"}


class Plots:
    def __init__(self, results, where, run):
        import matplotlib
        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
        from matplotlib.ticker import FuncFormatter
        self.plt, self.results, self.where, self.written = plt, results, where, []
        self.plain = FuncFormatter(lambda v, _: f"{v:,.10g}")
        self.foot = f"{run['machine']['processor']}, {run['machine']['cores']} cores, Linux {run['machine']['kernel']}; {run['date']}"
        plt.rcParams.update({"font.size": 10, "axes.grid": True, "grid.alpha": 0.3, "axes.spines.top": False,
                             "axes.spines.right": False, "figure.dpi": 110})

    def line(self, ax, subject, xs, keys, metric, **style):
        """Figures with their range; hollow: not quotable.  Whether any was."""
        figures = [(x, self.results.figure(k, metric)) for x, k in zip(xs, keys)]
        figures = [(x, f) for x, f in figures if f is not None]
        if not figures:
            return False
        colour, marker = COLOURS.get(subject, "#333333"), MARKERS.get(subject, "o")
        x, y = [x for x, _ in figures], [f.value for _, f in figures]
        style = {"linewidth": 2.4 if subject == TANA else 1.5, "zorder": 3 if subject == TANA else 2, **style}
        ax.plot(x, y, color=colour, **style)
        self.named[subject] = self.plt.Line2D([], [], color=colour, marker=marker, linewidth=style["linewidth"])
        ax.vlines(x, [f.low for _, f in figures], [f.high for _, f in figures], color=colour, alpha=0.4, linewidth=3)
        for px, f in figures:
            ax.plot([px], [f.value], marker=marker, color=colour, markersize=6, zorder=4, markerfacecolor="white" if f.noisy else colour)
            self.noisy |= bool(f.noisy)
        return True

    def figure(self, title, panels=1):
        self.noisy, self.named = False, {}
        fig, axes = self.plt.subplots(1, panels, figsize=(7.5 if panels == 1 else 11, 4.8), squeeze=False)
        fig.suptitle(title, fontweight="bold", x=0.01, ha="left")
        return fig, axes[0]

    def save(self, fig, name):
        foot = self.foot + ("; hollow: too noisy to be quoted" if self.noisy else "") + "; bars: all rounds"
        fig.text(0.01, 0.01, foot, fontsize=7.5, color="#555555")
        # Beside the lines, a legend would hide some; it stands above them.
        several = len(self.named) > 1
        if several:
            fig.legend(self.named.values(), self.named.keys(), loc="upper left", bbox_to_anchor=(0, 0.95), ncols=len(self.named),
                       frameon=False, fontsize=9, columnspacing=1.4, handlelength=2.4)
        fig.tight_layout(rect=(0, 0.03, 1, 0.93 if several else 0.99))
        fig.savefig(self.where / name)
        self.plt.close(fig)
        self.written.append(name)

    def ticks(self, ax, xs):
        ax.set_xticks(xs, [f"{x:,}" for x in xs])
        ax.minorticks_off()
        ax.yaxis.set_major_formatter(self.plain)

    def connections(self):
        r = self.results
        if len(r.points("hello")) < 2:
            return
        fig, (ax,) = self.figure("Throughput against connections (hello)")
        xs = r.points("hello")
        for s in r.subjects("hello"):
            self.line(ax, s, xs, [Key("hello", x, s) for x in xs], "rate")
        ax.set_xscale("log")
        ax.set_ylim(bottom=0)
        self.ticks(ax, xs)
        ax.set_xlabel("connections (log scale)")
        ax.set_ylabel("requests a second")
        self.save(fig, "connections.png")

    def load(self):
        from matplotlib.ticker import LogLocator, NullFormatter
        r = self.results
        if not r.points("load"):
            return
        fig, axes = self.figure("Latency against load (hello, 64 connections, from when a request was due)", 2)
        for ax, metric, name in zip(axes, ("p50", "p99"), ("median", "99th percentile")):
            for s in r.subjects("load"):
                keys = [Key("load", p, s) for p in r.points("load") if isinstance(p, float)]
                xs = [r.samples[k][0]["values"]["offered"] for k in keys]
                self.line(ax, s, xs, keys, metric)
            ax.set_xscale("log")
            ax.set_yscale("log")
            for axis in (ax.xaxis, ax.yaxis):
                axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axis.set_major_formatter(self.plain)
                axis.set_minor_formatter(NullFormatter())
            ax.set_xlabel("requests a second asked for (log scale)")
            ax.set_ylabel(f"{name}, ms (log scale)")
        self.save(fig, "load.png")

    def contracts_and_workers(self):
        r = self.results
        have = [n for n in ("contracts", "workers") if len(r.points(n)) > 1]
        if not have:
            return
        fig, axes = self.figure("Throughput of tana-edge against contracts and workers (hello, 32 connections)", len(have))
        for ax, n in zip(axes, have):
            xs = r.points(n)
            self.line(ax, TANA, xs, [Key(n, x, TANA) for x in xs], "rate")
            ax.set_xscale("log")
            ax.set_ylim(bottom=0)
            self.ticks(ax, xs)
            ax.set_xlabel("contracts, asked at random (log scale)" if n == "contracts" else "workers (log scale)")
            ax.set_ylabel("requests a second")
        self.save(fig, "contracts-workers.png")

    def overload(self):
        r = self.results
        samples = r.samples.get(Key("overload", "after 200 %", TANA))
        if not samples:
            return
        fig, axes = self.figure("tana-edge in overload (hello, 1,000 clients)", 2)
        xs = [p for p in r.points("overload") if isinstance(p, float)]
        self.line(axes[0], TANA, [100 * x for x in xs], [Key("overload", x, TANA) for x in xs], "goodput")
        axes[0].set_ylim(bottom=0)
        axes[0].yaxis.set_major_formatter(self.plain)
        axes[0].set_xlabel("load, % of capacity")
        axes[0].set_ylabel("requests answered 2xx a second")
        timeline = samples[-1]["values"]["timeline"]
        t = [0.1 * (i + 0.5) for i in range(len(timeline))]
        axes[1].plot(t, [10 * w["ok"] for w in timeline], color=COLOURS[TANA], label="answered 2xx")
        axes[1].plot(t, [10 * (w["refused"] + w["failed"]) for w in timeline], color="#555555", linestyle="--", label="refused or failed")
        axes[1].axvline(t[-1] + 0.05 - 2, color="#999999", linewidth=1)
        axes[1].annotate("200 % | 50 %", (t[-1] + 0.05 - 2, 1), xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=9)
        axes[1].set_ylim(bottom=0)
        axes[1].yaxis.set_major_formatter(self.plain)
        noisy = r.figure(Key("overload", "after 200 %", TANA), "recovery_ms").noisy
        axes[1].set_xlabel(f"seconds (last round{', too noisy to be quoted' if noisy else ''})")
        axes[1].set_ylabel("requests a second")
        axes[1].legend(frameon=False)
        self.save(fig, "overload.png")


def plots(results, where, run):
    """The names of the plots; ImportError: no matplotlib."""
    p = Plots(results, where, run)
    for draw in (p.connections, p.load, p.contracts_and_workers, p.overload):
        draw()
    return p.written


def write(where, run, results, goals):
    """report.txt, report.json and plots; what was written, or why not."""
    where.mkdir(parents=True, exist_ok=True)
    said = text(run, results, goals)
    (where / "report.txt").write_text(said)
    (where / "report.json").write_text(json.dumps(document(run, results, goals), indent="\t") + "\n")
    try:
        return said, ["report.txt", "report.json", *plots(results, where, run)]
    except ImportError:
        return said, ["report.txt", "report.json", "no plots (Debian: python3-matplotlib)"]
