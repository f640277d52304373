"""The HTML of a snapshot's report: one file that opens from disk and asks for nothing else. Values in, text out."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reelworks.curate.distribution import Distribution, drop_reasons, ends, of_classes, sums
from reelworks.curate.report_chart import chart
from reelworks.tracking import flat

# Captions and addresses are strangers' words: the policy stops whatever would slip through the escaping.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6572;--line:#d5dae0;--bar:#2f6fae;--card:#f4f6f8;--page:#fff}
@media (prefers-color-scheme:dark){:root{--ink:#e4e8ee;--soft:#a3adba;--line:#3a434f;--bar:#6aa6e0;--card:#1b2129;
--page:#12161b}}
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1120px;padding:0 1rem;color:var(--ink);
background:var(--page);overflow-wrap:anywhere}
h1{margin-bottom:.2rem} h2{margin-top:2.4rem;border-bottom:1px solid var(--line)} h3{font-size:1rem;margin:.2rem 0}
table{border-collapse:collapse;width:100%} td,th{padding:.2rem .8rem .2rem 0;border-bottom:1px solid var(--line);
text-align:start;vertical-align:top} td:first-child{overflow-wrap:normal;width:1%}
td.n{text-align:end;font-variant-numeric:tabular-nums;overflow-wrap:normal} .named{margin-top:1rem}
.named th,.named td.k{white-space:nowrap} .named td{overflow-wrap:anywhere;width:auto}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(320px,100%),1fr));gap:1rem;align-items:start}
.card{background:var(--card);padding:.7rem;border-radius:6px;min-width:0} .card p{margin:.25rem 0}
.counts{columns:3 240px;column-gap:2rem;margin-top:1rem} .counts p{display:flex;justify-content:space-between;margin:0;
border-bottom:1px solid var(--line);break-inside:avoid}
.card img{max-width:100%;display:block} .none{padding:2.5rem .7rem;text-align:center;border:1px dashed var(--line)}
.soft,dt{color:var(--soft);font-size:.87em} dl{margin:.4rem 0} dd{margin:0 0 .3rem;max-height:9em;overflow:auto;
white-space:pre-wrap} pre{overflow-x:auto;background:var(--card);padding:.8rem;border-radius:6px}
svg{width:100%;height:auto;display:block} rect{fill:var(--bar)} line{stroke:var(--line)} text{fill:var(--ink);
font-size:11px} text.soft{fill:var(--soft)}
@media (max-width:640px){.named tr,.named td{display:block;border:0} .named tr{padding:.4rem 0;
border-bottom:1px solid var(--line)} .named th{display:none}}
"""
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
        "Distributions": _grid([chart(one) for one in page.distributions]) or "<p>There is no clip to measure.</p>",
        "Quarantine": _quarantine(page.quarantine),
        "Clips with their captions": _grid([_card(one) for one in page.cards]) or "<p>No clip was asked for.</p>",
        "Settings and models": _table(
            {name: value for name, value in flat(page.settings).items() if value is not None}
        ),
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
    return f"<table>{rows}</table>"


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"<bdi>{html.escape(str(value))}</bdi>"


def _counts(counts: Mapping[str, int]) -> str:
    """Sources by what became of them and clips by why they were dropped, as sums and as bars; then every count."""
    charts = {
        "sources by outcome": (ends(counts), "sources"),
        "clips dropped, by reason": (drop_reasons(counts), "clips"),
    }
    drawn = [chart(of_classes(name, bars), unit) for name, (bars, unit) in charts.items() if bars]
    told = "<br>".join(html.escape(line) for line in sums(counts))
    each = "".join(f"<p><span>{html.escape(name)}</span> <b>{count:,}</b></p>" for name, count in counts.items())
    return f"<p>{told}</p>{_grid(drawn)}<div class=counts>{each}</div>"


def _quarantine(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "<p>No source is in quarantine.</p>"
    kinds = Counter(f"{row['kind']} ({row['stage']})" for row in rows)
    columns = ("uri", "stage", "kind", "good_frames", "message")
    lines = "".join(
        "<tr>" + "".join(_cell(name, row.get(name)) for name in columns) + "</tr>" for row in rows[:QUARANTINE_SHOWN]
    )
    more = f"<p class=soft>and {len(rows) - QUARANTINE_SHOWN:,} more</p>" if len(rows) > QUARANTINE_SHOWN else ""
    table = f"<table class=named><tr><th>source<th>stage<th>kind<th>good frames<th>what was wrong</tr>{lines}</table>"
    return f"{_grid([chart(of_classes('sources in quarantine', kinds), 'sources')])}{table}{more}"


def _cell(name: str, value: Any) -> str:
    """Empty where nothing is known; a narrow screen shows no headings, so a number says what it counts."""
    look = "" if name in ("uri", "message") else " class=k"
    if value is None:
        return f"<td{look}>"
    shown = f"{value:,} good frames" if name == "good_frames" else html.escape(str(value))
    return f"<td{look}><bdi>{shown}</bdi>"


def _card(card: Card) -> str:
    """Directions of writing are kept apart by element: a caption or a key may be in any script."""
    picture = f"<img src='{html.escape(card.picture)}' alt='frames of the clip, from first to last'>"
    shown = picture if card.picture else f"<p class='soft none'>no picture: {html.escape(card.note)}</p>"
    captions = "".join(
        f"<dt>{html.escape(name)}<dd dir=auto>{html.escape(text) or '<i>empty</i>'}"
        for name, text in card.captions.items()
        if text is not None
    )
    scores = ", ".join(f"{html.escape(name)} {_measured(value)}" for name, value in card.scores.items())
    return (
        f"<div class=card>{shown}<dl>{captions or '<dt>without a caption'}</dl>"
        f"<p class=soft><bdi>{html.escape(card.source_uri)}</bdi><br>{html.escape(card.about)}<br>"
        f"{html.escape(card.clip_id)}{f'<br>{scores}' if scores else ''}</p></div>"
    )


def _measured(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
