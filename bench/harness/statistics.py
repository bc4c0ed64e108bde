# SPDX-License-Identifier: Apache-2.0
"""Medians and spreads of values that were measured round by round."""

from dataclasses import asdict, dataclass


def quantile(values, fraction):
    """Linear interpolation between the two nearest of the sorted values."""
    ordered = sorted(values)
    position = fraction * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


@dataclass(frozen=True)
class Summary:
    median: float
    low: float
    high: float
    q1: float
    q3: float
    rounds: int

    @property
    def iqr(self):
        return self.q3 - self.q1

    def as_json(self):
        return {**asdict(self), "iqr": self.iqr}


def summarize(values):
    values = list(values)
    if not values:
        raise ValueError("nothing was measured")
    return Summary(
        median=quantile(values, 0.5),
        low=min(values),
        high=max(values),
        q1=quantile(values, 0.25),
        q3=quantile(values, 0.75),
        rounds=len(values),
    )


def summarize_ratios(numerators, denominators):
    """Ratios are formed inside each round, then summarized: the machine drifts between rounds."""
    return summarize(n / d for n, d in zip(numerators, denominators, strict=True))
