# SPDX-License-Identifier: Apache-2.0
"""Slices taken in turn, and what is said about them."""

from dataclasses import dataclass, field

from .statistics import Summary, summarize, summarize_ratios

# metric -> (title, unit, whether more is better)
METRICS = {
    "rate": ("rate", "/s", True),
    "server_cpu_us": ("server CPU", "µs", False),
    "p50_us": ("latency p50", "µs", False),
    "p99_us": ("latency p99", "µs", False),
    "max_us": ("latency at most", "µs", False),
    "server_load": ("server core in use", "", True),
    "client_load": ("client core in use", "", True),
    "client_cpu_us": ("client CPU", "µs", False),
    "mean_us": ("latency mean", "µs", False),
    "kib": ("memory", "KiB", False),
    "over_us": ("latency p50 over the ceiling's", "µs", False),
    "seconds": ("time", "s", False),
    "in_flight": ("rate of requests that all wait at once", "", True),
    "create_p50_us": ("latency p50 of Create meanwhile", "µs", False),
    "create_p99_us": ("latency p99 of Create meanwhile", "µs", False),
}


@dataclass
class Measurement:
    """One row of the results: a subject, perhaps the ceiling that it is held against, and each
    metric of both. A share is the subject's part of the ceiling, 1.0 being as good."""

    scenario: str
    title: str
    subject: str
    ceiling: str | None = None
    values: dict[str, dict[str, Summary]] = field(default_factory=dict)  # metric -> name -> values
    shares: dict[str, Summary] = field(default_factory=dict)
    notes: dict = field(default_factory=dict)

    def as_json(self):
        return {
            "scenario": self.scenario,
            "title": self.title,
            "subject": self.subject,
            "ceiling": self.ceiling,
            "values": {metric: {name: summary.as_json() for name, summary in by_name.items()}
                       for metric, by_name in self.values.items()},
            "shares": {metric: summary.as_json() for metric, summary in self.shares.items()},
            "notes": self.notes,
        }


def take_turns(loads, rounds, work):
    """Lets each of {name: load} do `work(load)` once a round, in an order that turns around from
    one round to the next, and returns {name: [Slice, ...]}. A first round is thrown away."""
    slices = {name: [] for name in loads}
    names = list(loads)
    for name in names:
        work(loads[name])
    for number in range(rounds):
        for name in names if number % 2 == 0 else reversed(names):
            slices[name].append(work(loads[name]))
    return slices


def compare(scenario, title, slices, subject, ceiling=None):
    """A Measurement from the slices of take_turns()."""
    names = [subject] if ceiling is None else [subject, ceiling]
    metrics = {name: [part.metrics() for part in slices[name]] for name in names}
    result = Measurement(scenario, title, subject, ceiling)
    for metric in metrics[subject][0]:
        columns = {name: [values[metric] for values in metrics[name]] for name in names}
        result.values[metric] = {name: summarize(columns[name]) for name in names}
        if ceiling is not None:
            over, under = columns[subject], columns[ceiling]
            if not METRICS[metric][2]:
                over, under = under, over
            result.shares[metric] = summarize_ratios(over, under)
    result.notes["wire"] = {name: _wire(slices[name][-1].report) for name in names}
    return result


def _wire(report):
    """What was negotiated, and the answer's length: the same for subject and ceiling, or the
    comparison is not a fair one."""
    return {key: report[key] for key in ("protocol", "cipher", "group", "answer") if key in report}


@dataclass(frozen=True)
class Goal:
    """What the project promises, and what came out."""

    text: str
    measured: str
    met: bool | None  # None: not measured

    def as_json(self):
        return {"goal": self.text, "measured": self.measured, "met": self.met}
