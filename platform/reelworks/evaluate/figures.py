"""The arithmetic of the evaluation: proportions with their intervals, accuracies by attribute.

Pure functions of values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

# The 97.5% quantile of the standard normal distribution: a two-sided 95% interval.
Z_95 = 1.959963984540054


@dataclass(frozen=True)
class Proportion:
    """A count of successes among trials; `rate` is NaN-free: None where nothing was tried."""

    num_right: int
    num_tried: int

    @property
    def rate(self) -> float | None:
        return self.num_right / self.num_tried if self.num_tried else None

    def interval(self) -> tuple[float, float] | None:
        """95% score interval (Wilson 1927, eq. 1); None where nothing was tried."""
        if not self.num_tried:
            return None
        n, p = self.num_tried, self.num_right / self.num_tried
        centre = (p + Z_95**2 / (2 * n)) / (1 + Z_95**2 / n)
        half = Z_95 / (1 + Z_95**2 / n) * np.sqrt(p * (1 - p) / n + Z_95**2 / (4 * n**2))
        return (max(0.0, float(centre - half)), min(1.0, float(centre + half)))


def attribute_proportions(
    wanted: Sequence[Mapping[str, str | None]], read: Sequence[Mapping[str, str | None]], names: Iterable[str]
) -> dict[str, Proportion]:
    """For each attribute: how often what was read equals what was wanted.

    Only attributes that are wanted (not None) count; what couldn't be read (None) is wrong.
    """
    if len(wanted) != len(read):
        raise ValueError(f"{len(wanted)} wanted, {len(read)} read: they must pair up")
    result = {}
    for name in names:
        pairs = [(w[name], r.get(name)) for w, r in zip(wanted, read, strict=True) if w.get(name) is not None]
        result[name] = Proportion(sum(w == r for w, r in pairs), len(pairs))
    return result


def macro(proportions: Mapping[str, Proportion]) -> float | None:
    """Mean of the attributes' rates; None where no attribute was tried."""
    rates = [p.rate for p in proportions.values() if p.rate is not None]
    return float(np.mean(rates)) if rates else None
