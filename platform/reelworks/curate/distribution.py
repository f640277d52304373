"""How a snapshot's clips are distributed: duration, size, aspect, tokens, captions, scores. Numbers only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

COLUMNS = (
    "start_s",
    "end_s",
    "width",
    "height",
    "native_width",
    "native_height",
    "native_fps",
    "num_frames",
    "num_tokens",
    "caption_original",
    "caption_short",
    "caption_descriptive",
    "scores",
)
"""What `distributions` reads of schema.CLIP."""

# Bars that fit side by side on a page and lines that fit on a screen.
BARS, CLASSES = 24, 10
# Beyond this ratio of largest to smallest, equal steps would put nearly all into the first bar.
LOG_RATIO = 50
# Shapes that people have names for, width : height.
ASPECTS = ((9, 21), (9, 16), (2, 3), (3, 4), (1, 1), (4, 3), (3, 2), (16, 9), (2, 1), (21, 9))


# What became of the sources: these add up to all of them.
_ENDS = ("with_clips", "no_clips", "quarantined", "changed")


@dataclass(frozen=True)
class Distribution:
    """Bars of one quantity; `quantiles` (5%, 50%, 95%) where it is a number and not a class.

    `spacing` of a number's bars: one for each value, equal steps, or equal ratios.
    """

    name: str
    labels: Sequence[str]
    counts: Sequence[int]
    quantiles: tuple[float, float, float] | None = None
    spacing: Literal["each", "even", "log"] = "each"


def distributions(tables: Iterable[pa.Table]) -> list[Distribution]:
    """What is worth a chart of the rows of a snapshot, table by table; memory is a few numbers a row."""
    numbers: dict[str, list[np.ndarray]] = {}
    classes: dict[str, Counter[str]] = {name: Counter() for name in ("native size", "encoded size", "aspect")}
    for table in tables:
        for name, values in _numbers(table).items():
            numbers.setdefault(name, []).append(values)
        for kind, prefix in (("native size", "native_"), ("encoded size", "")):
            sizes = Counter(zip(*(table[f"{prefix}{side}"].to_pylist() for side in ("width", "height")), strict=True))
            for (width, height), count in sizes.items():
                classes[kind][f"{width}x{height}"] += count
                if kind == "native size":
                    classes["aspect"][aspect_name(width, height)] += count
    found = [of_numbers(name, np.concatenate(parts)) for name, parts in numbers.items()]
    return [one for one in [*found, *(of_classes(name, counts) for name, counts in classes.items())] if one.counts]


def _numbers(table: pa.Table) -> dict[str, np.ndarray]:
    """Quantity -> its value for each row that has one."""
    found = {
        "duration (s)": np.asarray(pc.subtract(table["end_s"], table["start_s"])),
        "tokens": np.asarray(table["num_tokens"]),
        "frames": np.asarray(table["num_frames"]),
        "native fps": np.asarray(table["native_fps"]),
    }
    for variant in ("original", "short", "descriptive"):
        texts = pc.drop_null(table[f"caption_{variant}"])
        if len(texts):
            found[f"words in {variant} captions"] = np.array([len(text.split()) for text in texts.to_pylist()])
    scores: dict[str, list[float]] = {}
    for row in table["scores"].to_pylist():
        for name, value in row or ():
            if value is not None and np.isfinite(value):
                scores.setdefault(name, []).append(value)
    return {**found, **{f"score: {name}": np.array(scores[name]) for name in sorted(scores)}}


def of_numbers(name: str, values: np.ndarray) -> Distribution:
    """A bar a value where few differ, else equal steps, of the logarithm where the values span decades."""
    if not len(values):
        return Distribution(name, [], [])
    low, middle, high = (float(value) for value in np.quantile(values, [0.05, 0.5, 0.95]))
    distinct, each = np.unique(values, return_counts=True)
    if len(distinct) <= BARS:
        return Distribution(name, [f"{value:.4g}" for value in distinct], each.tolist(), (low, middle, high))
    first, last = float(distinct[0]), float(distinct[-1])
    wide = first > 0 and last / first > LOG_RATIO
    edges = np.geomspace(first, last, BARS + 1) if wide else np.linspace(first, last, BARS + 1)
    edges[0], edges[-1] = first, last  # rounding would lose the extremes
    counts, _ = np.histogram(values, edges)
    labels = [f"{start:.4g} to {stop:.4g}" for start, stop in zip(edges[:-1], edges[1:], strict=True)]
    return Distribution(name, labels, counts.tolist(), (low, middle, high), "log" if wide else "even")


def of_classes(name: str, counts: Mapping[str, int]) -> Distribution:
    """The most frequent classes first; the rest is one bar."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown, rest = ordered[:CLASSES], ordered[CLASSES:]
    if rest:
        shown = [*shown, (f"{len(rest)} others", sum(count for _, count in rest))]
    return Distribution(name, [label for label, _ in shown], [count for _, count in shown])


def aspect_name(width: int, height: int) -> str:
    """The named shape that is nearest by ratio: 1920 x 1080 and 854 x 480 are both 16:9."""
    off = [abs(np.log(width / height * tall / wide)) for wide, tall in ASPECTS]
    wide, tall = ASPECTS[int(np.argmin(off))]
    return f"{wide}:{tall}"


def ends(counts: Mapping[str, int]) -> dict[str, int]:
    """Of a manifest's counts, what became of the sources."""
    return {name.replace("_", " "): counts[name] for name in _ENDS if counts.get(name)}


def drop_reasons(counts: Mapping[str, int]) -> dict[str, int]:
    """Of a manifest's counts, why clips were dropped."""
    return {name.removeprefix("dropped_"): n for name, n in counts.items() if name.startswith("dropped_") and n}


def sums(counts: Mapping[str, int]) -> list[str]:
    """A manifest's counts as two sums that a person can check: what became of the sources, and of their clips."""
    sources, reasons = ends(counts), drop_reasons(counts)
    kept, dropped = counts.get("clips", 0), counts.get("dropped", 0)
    why = f" ({_sum(reasons)})" if reasons else ""
    return [
        f"{counts.get('sources', sum(sources.values())):,} sources = {_sum(sources)}",
        f"{kept + dropped:,} clips found = {kept:,} kept + {dropped:,} dropped{why}",
    ]


def _sum(parts: Mapping[str, int]) -> str:
    return " + ".join(f"{count:,} {name}" for name, count in parts.items()) or "0"


def as_lines(found: Sequence[Distribution]) -> list[str]:
    """For a screen: quantiles of numbers, the most frequent classes with their counts."""
    lines: list[Any] = []
    for one in found:
        if one.quantiles:
            low, middle, high = one.quantiles
            lines.append(f"{one.name:28} 5% {low:.4g}, median {middle:.4g}, 95% {high:.4g}")
        else:
            shown = ", ".join(f"{label} {count:,}" for label, count in zip(one.labels, one.counts, strict=True))
            lines.append(f"{one.name:28} {shown}")
    return lines
