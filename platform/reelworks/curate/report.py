"""`reelworks dataset report`: what a person wants to see of a snapshot, gathered for one HTML page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from reelworks.curate.clips import ClipSpec
from reelworks.curate.diff import as_text, diff
from reelworks.curate.distribution import COLUMNS, distributions
from reelworks.curate.index import GONE
from reelworks.curate.redecode import indexed_spans, rows_frames
from reelworks.curate.report_page import Card, Page, render
from reelworks.curate.show import quarantine_rows
from reelworks.curate.snapshot import SnapshotRef, read_manifest, read_tables
from reelworks.errors import ReelworksError, StorageError, VideoError

FRAMES_SHOWN = 4
CELL_PX = 128
# Addresses of a kind, and captions, that the page names of what changed.
CHANGES_SHOWN = 5
# What of a manifest says how the snapshot was made.
SETTINGS = ("models", "fingerprints", "clips", "filters")


@dataclass(frozen=True)
class Decoded:
    """A clip of a snapshot with its frames uint8 (T, H, W, 3), or why they can't be shown any more."""

    row: Mapping[str, Any]
    frames: np.ndarray | None
    note: str = ""


def report(root: str, reference: SnapshotRef | str, num_clips: int = 24) -> str:
    """The page of a snapshot; `num_clips` clips are decoded again for its contact sheet."""
    ref, manifest = read_manifest(root, reference)
    spec, indexes = ClipSpec.model_validate(manifest["clips"]), f"{root}/index/{manifest['fingerprints']['index']}/"
    clips = decode_rows(first_rows(root, manifest)[:num_clips], spec, indexes)
    return report_of(root, ref, clips)


def report_of(root: str, ref: SnapshotRef, clips: Sequence[Decoded]) -> str:
    """The page of a snapshot with clips that are decoded already."""
    _, manifest = read_manifest(root, ref)
    return render(
        Page(
            title=f"{ref.name}@{ref.number}",
            about={"id": ref.id, "parent": manifest["parent"] or "none", "root": root},
            counts=manifest["counts"],
            distributions=distributions(read_tables(root, manifest["parts"], COLUMNS)),
            quarantine=quarantine_rows(root, manifest),
            changes=changes_since_parent(root, ref, manifest),
            settings={name: manifest[name] for name in SETTINGS if name in manifest},
            cards=[card(clip) for clip in clips],
        )
    )


def first_rows(root: str, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of a snapshot's first part: a sample without a bias, for ids are hashes."""
    return [row for table in read_tables(root, manifest["parts"][:1]) for row in table.to_pylist()]


def decode_rows(rows: Sequence[Mapping[str, Any]], spec: ClipSpec, indexes: str) -> list[Decoded]:
    """Each row with its frames, 1:1; a source that is gone since the commit costs its picture and not the page.

    `indexes`: where the sources' index objects lie.
    """
    found = []
    for row in rows:
        try:
            found.append(
                Decoded(row, rows_frames([row], spec, indexed_spans(f"{indexes}{row['source_id']}", row, spec))[0])
            )
        except StorageError as error:
            if error.kind not in GONE:
                raise
            found.append(Decoded(row, None, "the source was overwritten or deleted since"))
        except VideoError as error:
            found.append(Decoded(row, None, f"can't be decoded any more: {error}"))
    return found


def changes_since_parent(root: str, ref: SnapshotRef, manifest: Mapping[str, Any]) -> str:
    """What `dataset diff` says of a snapshot and the one before it; empty for the first."""
    if not manifest["parent"]:
        return ""
    parent = f"{ref.name}@{ref.number - 1}"
    try:
        return as_text(diff(root, parent, ref), CHANGES_SHOWN)
    except ReelworksError as error:
        return f"{parent} can't be read: {error}"


def card(clip: Decoded) -> Card:
    """A clip as the page shows it."""
    row = clip.row
    captions = {name: row[f"caption_{name}"] for name in ("original", "short", "descriptive")}
    about = (
        f"{row['start_s']:.2f} to {row['end_s']:.2f} s, {row['native_width']}x{row['native_height']} at "
        f"{row['native_fps']:.4g} fps, encoded {row['width']}x{row['height']}, {row['num_frames']} frames, "
        f"{row['num_tokens']:,} tokens"
    )
    picture = "" if clip.frames is None else picture_uri(clip.frames)
    scores = {name: value for name, value in row["scores"] or () if value is not None}
    return Card(row["clip_id"], row["source_uri"], about, picture, clip.note, captions, scores)


def picture_uri(frames: np.ndarray) -> str:
    """A few frames side by side, from first to last, as a JPEG in a data: address."""
    shown = frames[np.linspace(0, len(frames) - 1, min(FRAMES_SHOWN, len(frames))).round().astype(int)]
    strip = Image.fromarray(np.concatenate(list(shown), axis=1))
    scale = CELL_PX / max(frames.shape[1:3])
    how = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BICUBIC
    strip = strip.resize((max(1, round(strip.width * scale)), max(1, round(strip.height * scale))), how)
    out = io.BytesIO()
    strip.save(out, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()
