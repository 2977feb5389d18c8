"""What was measured: rounds of values, kept with what the machine did meanwhile, and the
figures made of them."""

from collections import defaultdict, namedtuple

from tana_noise import disturbances, judge, quickest

def milliseconds(v):
    """Three digits that mean something."""
    return f"{v:,.0f}" if v >= 100 else f"{v:.3g}"


# spread: how far the middle half of the rounds may differ, by their median, for the figure to
# be quoted.  The rarer what a figure stands for, the more it varies on a quiet machine too.
Metric = namedtuple("Metric", "unit spread format")
METRICS = {
    "rate": Metric("req/s", 0.10, "{:,.0f}".format),
    "goodput": Metric("req/s", 0.10, "{:,.0f}".format),
    "cpu_us": Metric("us", 0.10, "{:,.1f}".format),
    "p50": Metric("ms", 0.15, milliseconds),
    "p99": Metric("ms", 0.30, milliseconds),
    "p99_9": Metric("ms", 0.50, milliseconds),
    "refused_p99": Metric("ms", 0.50, milliseconds),
    "ms": Metric("ms", 0.30, "{:,.1f}".format),
    "recovery_ms": Metric("ms", 0.50, "{:,.0f}".format),
    "of_peak": Metric("", 0.10, "{:.2f}".format),
    "mb": Metric("MB", 0.10, "{:,.1f}".format),
    "errors": Metric("", float("inf"), "{:,.0f}".format),
    "given_up": Metric("", float("inf"), "{:,.0f}".format),
    "refused": Metric("", float("inf"), "{:,.0f}".format),
}

# subject: whom it is about, mostly a peer's name.  point: where on the scenario's scale.
Key = namedtuple("Key", "scenario point subject")


class Results:
    def __init__(self):
        self.samples = defaultdict(list)	# Key: [{"values", "noise"}], one a round
        self.discarded = []			# rounds that were measured again
        self.calibrations = []
        self.skipped = {}			# scenario or Key: why it was not measured
        self.facts = defaultdict(list)		# scenario: what a reader needs to know besides
        self.rests = defaultdict(list)		# (scenario, subject): Keys of the capacities that its loads are shares of

    def add(self, key, values, noise):
        self.samples[key].append({"values": values, "noise": noise})

    @property
    def best(self):
        """ms of the calibration loop when nothing slows it."""
        return quickest(self.calibrations) if self.calibrations else 0.0

    def has(self, key, metric):
        return any(metric in s["values"] for s in self.samples.get(key, []))

    def figure(self, key, metric):
        """None: not measured."""
        rounds = [(s["values"][metric], disturbances(s["noise"], self.best)) for s in self.samples.get(key, [])
                  if metric in s["values"]]
        return self.resting(judge(rounds, METRICS[metric].spread), key) if rounds else None

    def resting(self, figure, key):
        """A load of so many per cent is none if what it is a share of is not known."""
        capacities = self.rests[key.scenario, key.subject]
        if key not in capacities:
            for k in capacities:
                figure.noisy += [f"{k.point}, of which its load is a share: {why}" for why in self.figure(k, "goodput").noisy]
        return figure

    def ratio(self, a, b, metric):
        """a by b, round by round, so that what slowed a whole round cancels out."""
        rounds = []
        for x, y in zip(self.samples.get(a, []), self.samples.get(b, [])):
            if metric in x["values"] and y["values"].get(metric):
                rounds.append((x["values"][metric] / y["values"][metric],
                               disturbances(x["noise"], self.best) + disturbances(y["noise"], self.best)))
        return self.resting(judge(rounds, METRICS[metric].spread), a) if rounds else None

    def points(self, scenario):
        return list(dict.fromkeys(k.point for k in self.samples if k.scenario == scenario))

    def subjects(self, scenario):
        return list(dict.fromkeys(k.subject for k in self.samples if k.scenario == scenario))

    def text(self, figure, metric):
        """As the report has it: one that cannot be relied on is not quoted."""
        if figure is None:
            return "-"
        return "noisy" if figure.noisy else METRICS[metric].format(figure.value)
