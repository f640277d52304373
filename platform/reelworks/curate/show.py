"""`reelworks dataset show`: a snapshot for a person at a terminal."""

from __future__ import annotations

from collections import Counter
from typing import Any

from reelworks.curate.distribution import COLUMNS, as_lines, distributions, sums
from reelworks.curate.snapshot import read_manifest, read_tables

CLIPS_SHOWN = 5
CAPTION_CHARACTERS = 120


def show(root: str, reference: str) -> str:
    """What a snapshot holds: counts by reason, distributions, quarantine, models, some clips."""
    ref, manifest = read_manifest(root, reference)
    lines = [
        f"{ref.name}@{ref.number}  id {ref.id}",
        f"parent {manifest['parent'] or 'none'}",
        *sums(manifest["counts"]),
        *(f"{name:28} {value:>10,}" for name, value in manifest["counts"].items()),
        *as_lines(distributions(read_tables(root, manifest["parts"], COLUMNS))),
    ]
    kinds = Counter((row["stage"], row["kind"]) for row in quarantine_rows(root, manifest))
    lines += [f"quarantined in {stage:13} {kind} {count:,}" for (stage, kind), count in sorted(kinds.items())]
    lines += [f"{stage:10} {source}" for stage, source in manifest["models"].items()]
    for table in read_tables(root, manifest["parts"][:1]):
        for row in table.slice(0, CLIPS_SHOWN).to_pylist():
            lines.append(f"{row['clip_id']}  {row['source_uri']}  {row['start_s']:.2f} to {row['end_s']:.2f} s")
            captions = {name: row[f"caption_{name}"] for name in ("original", "short", "descriptive")}
            lines += [f"  {name:12} {_beginning(text)}" for name, text in captions.items() if text is not None]
    return "\n".join(lines)


def _beginning(text: str) -> str:
    line = " ".join(text[: 2 * CAPTION_CHARACTERS].split())
    return line if len(line) <= CAPTION_CHARACTERS else f"{line[: CAPTION_CHARACTERS - 1]}…"


def quarantine_rows(root: str, manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows (schema.QUARANTINE) of a snapshot's quarantine table."""
    (table,) = read_tables(root, [manifest["quarantine"]])
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows
