"""The demo's page: a report's figures, pictures and videos as one HTML file that opens from disk.

Pure: values in, text out. Paths to media are relative to the page.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:1080px;padding:0 1rem;color:#222}
h1{margin-bottom:.2rem} h2{margin-top:2.2rem;border-bottom:1px solid #ddd}
table{border-collapse:collapse;margin:.6rem 0} td,th{padding:.25rem .7rem;border-bottom:1px solid #eee;text-align:left}
td.n{text-align:right;font-variant-numeric:tabular-nums} img,video{image-rendering:pixelated;max-width:100%}
.banner{background:#fff3cd;border:1px solid #e0c860;padding:.8rem;margin:1rem 0}
.item{margin:.9rem 0;padding:.6rem;background:#fafafa} .item p{margin:.2rem 0} .grey{color:#777}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(330px,1fr));gap:.8rem}
"""


@dataclass(frozen=True)
class Page:
    """What the page shows beside the figures of report.json."""

    figures: Mapping[str, Any]
    banner: str = ""
    clips: Sequence[Mapping[str, str]] = ()  # picture, original, short, descriptive
    quarantine: Sequence[Mapping[str, Any]] = ()  # uri, kind, message
    curves: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)  # "verb: metric" -> (step, value)
    pictures: Mapping[str, Sequence[str]] = field(default_factory=dict)  # heading -> picture paths
    links: Mapping[str, str] = field(default_factory=dict)
    replicas: Sequence[tuple[float, Mapping[str, int]]] = ()  # seconds since deployment, replicas by deployment


def render(page: Page) -> str:
    """The whole HTML page."""
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Reelworks demo</title><style>{STYLE}</style>",
        "<h1>Reelworks: raw video to a served text-to-video model</h1>",
        f"<p class=grey>{len(page.figures.get('stage_seconds', {}))} stages in "
        f"{page.figures.get('total_seconds', 0) / 60:.1f} minutes.</p>",
        f"<div class=banner>{html.escape(page.banner)}</div>" if page.banner else "",
        _section("Where things are", _links(page.links)),
        _section("Figures", _figures(page.figures)),
        _section("Videos from the endpoint", _videos(page.figures.get("videos", []))),
        _section("The data set: clips with their captions", _clips(page.clips)),
        *(_section(heading, _pictures(paths)) for heading, paths in page.pictures.items()),
        _section("Training", "".join(_curve(name, points) for name, points in page.curves.items())),
        _section("Replicas of the endpoint over time", _replicas(page.replicas)),
        _section("Quarantined files", _quarantine(page.quarantine)),
    ]
    return "\n".join(part for part in parts if part) + "</html>\n"


def _section(heading: str, body: str) -> str:
    return f"<h2>{html.escape(heading)}</h2>\n{body}" if body else ""


def _links(links: Mapping[str, str]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td><a href='{html.escape(url, quote=True)}'>{html.escape(url)}</a></td></tr>"
        for name, url in links.items()
    )
    return f"<table>{rows}</table>" if rows else ""


def flatten(figures: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested figures as dotted names; lists of records (the videos) are left out."""
    rows: list[tuple[str, Any]] = []
    for name, value in figures.items():
        if isinstance(value, Mapping):
            rows += flatten(value, f"{prefix}{name}.")
        elif not (isinstance(value, list) and value and isinstance(value[0], Mapping)):
            rows.append((prefix + name, value))
    return rows


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, list | tuple):
        return " to ".join(_shown(item) for item in value)
    return f"{value:.3f}" if isinstance(value, float) else html.escape(str(value))


def _figures(figures: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td class=n>{_shown(value)}</td></tr>" for name, value in flatten(figures)
    )
    return f"<table>{rows}</table>"


def _videos(videos: Sequence[Mapping[str, Any]]) -> str:
    cards = "".join(
        f"<div class=item><img src='{html.escape(v['picture'])}' alt=''>"
        f"<p><b>{html.escape(v['prompt'])}</b></p><p>{html.escape(v.get('revised_prompt') or '')}</p>"
        f"<p class=grey>{html.escape(v['size'])}, {v['seconds']} s "
        f"<a href='{html.escape(v['page_path'])}'>MP4</a></p></div>"
        for v in videos
    )
    return f"<div class=cards>{cards}</div>" if cards else ""


def _clips(clips: Sequence[Mapping[str, str]]) -> str:
    cards = "".join(
        f"<div class=item><img src='{html.escape(c['picture'])}' alt=''>"
        f"<p class=grey>original: {html.escape(c.get('original') or 'none')}</p>"
        f"<p>short: {html.escape(c['short'])}</p><p>descriptive: {html.escape(c['descriptive'])}</p></div>"
        for c in clips
    )
    return f"<div class=cards>{cards}</div>" if cards else ""


def _pictures(paths: Sequence[str]) -> str:
    return "".join(f"<p><img src='{html.escape(path)}' alt=''></p>" for path in paths)


def _curve(name: str, points: Sequence[tuple[float, float]], width: int = 480, height: int = 160) -> str:
    """One metric over steps as inline SVG with its first, last and extreme values written out."""
    if len(points) < 2:
        return ""
    steps, values = [p[0] for p in points], [p[1] for p in points]
    low, high = min(values), max(values)
    span, reach = (high - low) or 1.0, (steps[-1] - steps[0]) or 1.0
    line = " ".join(
        f"{(s - steps[0]) / reach * width:.1f},{height - (v - low) / span * height:.1f}"
        for s, v in zip(steps, values, strict=True)
    )
    return (
        f"<div class=item><p>{html.escape(name)}: {values[0]:.4g} → {values[-1]:.4g} "
        f"<span class=grey>(step {steps[0]:g} to {steps[-1]:g}; {low:.4g} to {high:.4g})</span></p>"
        f"<svg width={width} height={height} style='overflow:visible'>"
        f"<polyline points='{line}' fill=none stroke='#2a6fb0' stroke-width=1.5 /></svg></div>"
    )


def _replicas(samples: Sequence[tuple[float, Mapping[str, int]]]) -> str:
    names = sorted({name for _, counts in samples for name in counts})
    return "".join(
        _curve(f"replicas of {name}", [(second, float(counts.get(name, 0))) for second, counts in samples], height=60)
        for name in names
    )


def _quarantine(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    body = "".join(
        f"<tr><td>{html.escape(str(r['uri']))}</td><td>{html.escape(str(r['kind']))}</td>"
        f"<td>{html.escape(str(r['message']))}</td></tr>"
        for r in rows
    )
    return f"<table><tr><th>file</th><th>kind</th><th>what was wrong</th></tr>{body}</table>"
