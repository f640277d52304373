"""The HTML of a snapshot's report: one file that opens from disk and asks for nothing else. Values in, text out."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reelworks.curate.distribution import Distribution, of_classes
from reelworks.tracking import flat

# Captions and addresses are strangers' words: the policy stops whatever would slip through the escaping.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
STYLE = """
:root{--ink:#1c2430;--soft:#66707d;--line:#dfe3e8;--bar:#2f6fae;--card:#f7f8fa;--page:#fff}
@media (prefers-color-scheme:dark){:root{--ink:#e4e8ee;--soft:#98a2b0;--line:#333b46;--bar:#6aa6e0;--card:#1b2129;
--page:#12161b}}
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1120px;padding:0 1rem;color:var(--ink);
background:var(--page)}
h1{margin-bottom:.2rem} h2{margin-top:2.4rem;border-bottom:1px solid var(--line)} h3{font-size:1rem;margin:.2rem 0}
table{border-collapse:collapse} td,th{padding:.2rem .8rem .2rem 0;border-bottom:1px solid var(--line);text-align:left;
vertical-align:top} td.n{text-align:right;font-variant-numeric:tabular-nums}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(320px,1fr));gap:1rem;align-items:start}
.card{background:var(--card);padding:.7rem;border-radius:6px;overflow-wrap:anywhere} .card p{margin:.25rem 0}
.card img{max-width:100%;image-rendering:pixelated} .soft{color:var(--soft);font-size:.87em}
svg{width:100%;height:auto;display:block} rect{fill:var(--bar)} text{fill:var(--ink);font-size:11px}
text.soft{fill:var(--soft)} pre{overflow-x:auto;background:var(--card);padding:.8rem;border-radius:6px}
.wide{overflow-x:auto}
"""
WIDTH, HEIGHT, LINE = 320, 110, 18  # px of a chart, of its upright bars, of one lying bar
CHARACTER_PX, MOST_LABEL_PX, COUNT_PX = 6.4, 170, 60
# Rows of the quarantine that the page names; its chart counts them all.
QUARANTINE_SHOWN = 200


@dataclass(frozen=True)
class Card:
    """One clip on the contact sheet."""

    clip_id: str
    source_uri: str
    about: str
    picture: str  # a data: address, empty where there is none
    note: str
    captions: Mapping[str, str | None]
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Page:
    """What the page shows."""

    title: str
    about: Mapping[str, str]
    counts: Mapping[str, int]
    distributions: Sequence[Distribution]
    quarantine: Sequence[Mapping[str, Any]]  # schema.QUARANTINE
    changes: str
    settings: Mapping[str, Any]
    cards: Sequence[Card]


def render(page: Page) -> str:
    """The whole page."""
    sections = {
        "Counts": _counts(page.counts),
        "What changed since the snapshot before": f"<pre>{html.escape(page.changes)}</pre>" if page.changes else "",
        "Distributions": _grid([_chart(one) for one in page.distributions]),
        "Quarantine": _quarantine(page.quarantine),
        "Clips with their captions": _grid([_card(one) for one in page.cards]),
        "Settings and models": _table(flat(page.settings)),
    }
    body = "\n".join(f"<h2>{html.escape(name)}</h2>\n{text}" for name, text in sections.items() if text)
    title = html.escape(page.title)
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f'<meta http-equiv=Content-Security-Policy content="{POLICY}"><title>{title}</title><style>{STYLE}</style>\n'
        f"<h1>{title}</h1>\n{_table(page.about)}\n{body}</html>\n"
    )


def _grid(items: Sequence[str]) -> str:
    return f"<div class=grid>{''.join(items)}</div>" if items else ""


def _table(values: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(name)}<td class={'n' if isinstance(value, int | float) else 's'}>{_shown(value)}</tr>"
        for name, value in values.items()
    )
    return f"<div class=wide><table>{rows}</table></div>"


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else html.escape(str(value))


def _counts(counts: Mapping[str, int]) -> str:
    """Sources by what became of them and clips by why they were dropped as bars, every count as a table."""
    ends = {name: counts[name] for name in ("with_clips", "no_clips", "quarantined", "changed") if counts.get(name)}
    reasons = {name.removeprefix("dropped_"): n for name, n in counts.items() if name.startswith("dropped_") and n}
    charts = {"sources by outcome": ends, "clips dropped": reasons}
    drawn = [_chart(of_classes(name, bars)) for name, bars in charts.items() if bars]
    return _grid([*drawn, f"<div>{_table(counts)}</div>"])


def _quarantine(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "<p>No source is in quarantine.</p>"
    kinds = Counter(f"{row['kind']} ({row['stage']})" for row in rows)
    lines = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(row[name]))}" for name in ("uri", "stage", "kind", "message")) + "</tr>"
        for row in rows[:QUARANTINE_SHOWN]
    )
    more = f"<p class=soft>and {len(rows) - QUARANTINE_SHOWN:,} more</p>" if len(rows) > QUARANTINE_SHOWN else ""
    table = f"<table><tr><th>source<th>stage<th>kind<th>what was wrong</tr>{lines}</table>"
    return f"{_grid([_chart(of_classes('sources in quarantine', kinds))])}<div class=wide>{table}</div>{more}"


def _card(card: Card) -> str:
    picture = f"<img src='{html.escape(card.picture)}' alt='frames of the clip'>" if card.picture else ""
    captions = "".join(
        f"<p><span class=soft>{name}</span> {html.escape(text)}</p>" for name, text in card.captions.items() if text
    )
    scores = ", ".join(f"{html.escape(name)} {value:.3g}" for name, value in card.scores.items())
    return (
        f"<div class=card>{picture}<p class=soft>{html.escape(card.note)}</p>{captions}"
        f"<p class=soft>{html.escape(card.source_uri)}<br>{html.escape(card.about)}<br>"
        f"{html.escape(card.clip_id)}{f'<br>{scores}' if scores else ''}</p></div>"
    )


def _chart(one: Distribution) -> str:
    """Upright bars for numbers, lying ones with their names for classes; a bar's label and count show on hovering."""
    body = _upright(one) if one.quantiles else _lying(one)
    note = ""
    if one.quantiles:
        low, middle, high = one.quantiles
        note = f"<p class=soft>5% {low:.4g}, median {middle:.4g}, 95% {high:.4g}</p>"
    return f"<div class=card><h3>{html.escape(one.name)}</h3>{body}{note}</div>"


def _upright(one: Distribution) -> str:
    most, step = max(one.counts), WIDTH / len(one.counts)
    wide = max(1.0, min(step - 1, 40))
    bars = []
    for i, (label, count) in enumerate(zip(one.labels, one.counts, strict=True)):
        tall = count / most * (HEIGHT - LINE) if count else 0
        bars.append(
            f"<rect x='{i * step + (step - wide) / 2:.1f}' y='{HEIGHT - tall:.1f}' width='{wide:.1f}' "
            f"height='{tall:.1f}'><title>{html.escape(label)}: {count:,}</title></rect>"
        )
    first, last = one.labels[0].split(" to ")[0], one.labels[-1].split(" to ")[-1]
    marks = f"<text class=soft x='0' y='{HEIGHT + 13}'>{html.escape(first)}</text>" + (
        f"<text class=soft x='{WIDTH}' y='{HEIGHT + 13}' text-anchor='end'>{html.escape(last)}</text>"
        if len(one.labels) > 1
        else ""
    )
    top = f"<text class=soft x='{WIDTH}' y='10' text-anchor='end'>at most {most:,}</text>"
    return _svg(one.name, HEIGHT + LINE, f"{''.join(bars)}{marks}{top}")


def _lying(one: Distribution) -> str:
    start = min(MOST_LABEL_PX, 12 + CHARACTER_PX * max(map(len, one.labels)))
    most, room = max(one.counts), WIDTH - start - COUNT_PX
    lines = []
    for i, (label, count) in enumerate(zip(one.labels, one.counts, strict=True)):
        wide, text_y = count / most * room, i * LINE + 13
        lines.append(
            f"<text x='{start - 6:.0f}' y='{text_y}' text-anchor='end'>{html.escape(label)}</text>"
            f"<rect x='{start:.0f}' y='{i * LINE + 3}' width='{max(1.0, wide):.1f}' height='{LINE - 6}'/>"
            f"<text class=soft x='{start + wide + 5:.1f}' y='{text_y}'>{count:,}</text>"
        )
    return _svg(one.name, LINE * max(1, len(one.labels)), "".join(lines))


def _svg(name: str, height: int, body: str) -> str:
    return f"<svg viewBox='0 0 {WIDTH} {height}' role=img aria-label='{html.escape(name, quote=True)}'>{body}</svg>"
