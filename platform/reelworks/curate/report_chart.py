"""Bars of a distribution as an SVG for the HTML report. Values in, text out; lengths in px of the drawing."""

from __future__ import annotations

import html
from collections.abc import Iterable

from reelworks.curate.distribution import Distribution

WIDTH, HEIGHT, LINE = 320, 110, 18  # of a chart, of its upright bars with their top line, of one lying bar
LEFT, TICK = 40, 14  # room for the numbers of the upright axis, of a line of numbers under the bars
CHARACTER_PX, MOST_LABEL_PX, COUNT_PX = 6.4, 190, 60
# Upright bars whose values fit side by side under them.
BARS_NAMED = 6
SPACING = {"each": "one bar a value, not to scale", "even": "equal steps", "log": "logarithmic: equal ratios"}


def chart(one: Distribution, unit: str = "clips") -> str:
    """A card: upright bars over a scale for numbers, lying ones with their names for classes; `unit` is counted."""
    note = f"{sum(one.counts):,} {unit}"
    if one.quantiles:
        low, middle, high = one.quantiles
        note += f"; 5% {low:.4g}, median {middle:.4g}, 95% {high:.4g}; {SPACING[one.spacing]}"
    body = _upright(one, unit) if one.quantiles else _lying(one)
    return f"<div class=card><h3 dir=auto>{html.escape(one.name)}</h3>{body}<p class=soft>{note}</p></div>"


def _upright(one: Distribution, unit: str) -> str:
    """Each bar tells its values and count on hovering; the axes tell the rest."""
    most, step = max(one.counts), (WIDTH - LEFT) / len(one.counts)
    wide = max(1.0, min(step - 1, 40))
    bars = []
    for i, (label, count) in enumerate(zip(one.labels, one.counts, strict=True)):
        tall = count / most * (HEIGHT - LINE) if count else 0
        bars.append(
            f"<rect x='{LEFT + i * step + (step - wide) / 2:.1f}' y='{HEIGHT - tall:.1f}' width='{wide:.1f}' "
            f"height='{tall:.1f}'><title>{html.escape(label)}: {count:,} {unit}</title></rect>"
        )
    axis = (
        f"<line x1='{LEFT}' y1='{HEIGHT}' x2='{WIDTH}' y2='{HEIGHT}'/>"
        f"<text class=soft x='{LEFT - 5}' y='{LINE + 8}' text-anchor='end'>{_short(most)}</text>"
        f"<text class=soft x='{LEFT - 5}' y='{HEIGHT}' text-anchor='end'>0</text>"
        f"<text class=soft x='0' y='9'>{unit}</text>"
    )
    name = _text(one.name, (WIDTH + LEFT) / 2, HEIGHT + 2 * TICK, "middle", WIDTH - LEFT)
    return _svg(one.name, HEIGHT + 2 * TICK + 4, "".join([*bars, axis, *_ticks(one, step), name]))


def _ticks(one: Distribution, step: float) -> Iterable[str]:
    """Values under the bars: of each where they are few, else of the first and the last edge."""
    y = HEIGHT + TICK
    if len(one.labels) <= BARS_NAMED and one.spacing == "each":
        for i, label in enumerate(one.labels):
            yield _text(label, LEFT + (i + 0.5) * step, y, "middle", step)
        return
    first, last = one.labels[0].split(" to ")[0], one.labels[-1].split(" to ")[-1]
    yield _text(first, LEFT, y, "start", step * len(one.labels) / 2)
    yield _text(last, WIDTH, y, "end", step * len(one.labels) / 2)


def _lying(one: Distribution) -> str:
    start = min(MOST_LABEL_PX, 12 + CHARACTER_PX * max(map(len, one.labels)))
    most, room = max(one.counts), WIDTH - start - COUNT_PX
    lines = []
    for i, (label, count) in enumerate(zip(one.labels, one.counts, strict=True)):
        wide, text_y = count / most * room, i * LINE + 13
        lines.append(
            _text(label, start - 6, text_y, "end", start - 6, "")
            + f"<rect x='{start:.0f}' y='{i * LINE + 3}' width='{max(1.0, wide):.1f}' height='{LINE - 6}'/>"
            f"<text class=soft x='{start + wide + 5:.1f}' y='{text_y}'>{count:,}</text>"
        )
    return _svg(one.name, LINE * max(1, len(one.labels)), "".join(lines))


def _text(text: str, x: float, y: float, anchor: str, room: float, look: str = " class=soft") -> str:
    """One line that ends with … where the room does; the whole of it shows on hovering."""
    fits = max(1, int(room / CHARACTER_PX))
    shown = text if len(text) <= fits else f"{text[: fits - 1]}…"
    whole = "" if shown == text else f"<title>{html.escape(text)}</title>"
    return f"<text{look} x='{x:.1f}' y='{y}' text-anchor='{anchor}'>{html.escape(shown)}{whole}</text>"


def _short(count: int) -> str:
    """A count that fits beside the axis: 999, 12.3k, 4.56M."""
    for size, letter in ((1_000_000_000, "G"), (1_000_000, "M"), (10_000, "k")):
        if count >= size:
            return f"{count / (1000 if letter == 'k' else size):.3g}{letter}"
    return str(count)


def _svg(name: str, height: int, body: str) -> str:
    return f"<svg viewBox='0 0 {WIDTH} {height}' role=img aria-label='{html.escape(name, quote=True)}'>{body}</svg>"
