"""Pictures for a person after a commit: clips with their captions, and what the VAE makes of them.

Axes: T frames, H W rows and columns.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from reelworks.curate.plan import Plan
from reelworks.curate.redecode import indexed_spans, rows_frames
from reelworks.curate.report import decode_rows, first_rows, report_of
from reelworks.curate.snapshot import SnapshotRef, read_manifest
from reelworks.video.quality import psnr_db

if TYPE_CHECKING:
    from reelworks.tracking import Run

CELL_PX = 96
FRAMES_SHOWN = 4
TEXT_PX = 300
# Lines and characters of captions that fit beside the frames of a clip; the rest is cut.
LINES_SHOWN, LINE_CHARACTERS = 6, 46


def draw(plan: Plan, run: Run, ref: SnapshotRef) -> dict[str, float]:
    """Log the report, the contact sheet and the reconstructions that the recipe asks for; the VAE's mean PSNR, if any.

    The frames of the contact sheet are decoded once for both.
    """
    rows = first_rows(plan.recipe.root, read_manifest(plan.recipe.root, ref)[1])
    wanted = plan.recipe.pictures
    clips = decode_rows(rows[: wanted.contact_sheet], plan.recipe.clips, plan.prefix("index"))
    run.blob(report_of(plan.recipe.root, ref, clips).encode(), "prepare/report.html")
    cells = [(clip.frames, caption_lines(clip.row)) for clip in clips if clip.frames is not None]
    if cells:
        run.blob(contact_sheet(cells), "prepare/contact_sheet.png")
    later = [row for row in rows if row["start_s"] >= wanted.reconstruct_from_s]
    later.sort(key=lambda row: (row["source_uri"], row["start_s"]))
    chosen = later[:: max(1, len(later) // max(1, wanted.reconstructions))][: wanted.reconstructions]
    return reconstruct(plan, run, chosen) if chosen else {}


def caption_lines(row: Mapping[str, Any]) -> list[str]:
    names = ("original", "short", "descriptive")
    return [f"{name}: {row[f'caption_{name}']}" for name in names if row[f"caption_{name}"] is not None]


def contact_sheet(cells: Sequence[tuple[np.ndarray, list[str]]]) -> bytes:
    """PNG: a line a clip, a few of its frames and its captions beside them; two clips side by side."""
    line_px, column_px = CELL_PX + 8, FRAMES_SHOWN * (CELL_PX + 4) + TEXT_PX
    sheet = Image.new("RGB", (2 * column_px, line_px * ((len(cells) + 1) // 2)), "white")
    for index, (frames, lines) in enumerate(cells):
        left, top = index % 2 * column_px, index // 2 * line_px
        for at, frame in enumerate(np.linspace(0, len(frames) - 1, FRAMES_SHOWN).round().astype(int)):
            sheet.paste(_fitted(frames[frame]), (left + at * (CELL_PX + 4), top + 4))
        # A picture of its own: whatever a caption holds, it ends where the next clip begins.
        label = Image.new("RGB", (TEXT_PX - 8, CELL_PX), "white")
        ImageDraw.Draw(label).multiline_text((0, 0), "\n".join(fitted_lines(lines)), fill="black")
        sheet.paste(label, (left + FRAMES_SHOWN * (CELL_PX + 4) + 4, top + 4))
    return _png(sheet)


def fitted_lines(lines: Sequence[str]) -> list[str]:
    """Lines wrapped, the longest cut until all fit beside a clip; … says where one goes on."""
    most = LINES_SHOWN * LINE_CHARACTERS + 1
    wrapped = [textwrap.wrap(line[:most], LINE_CHARACTERS) for line in lines]
    while sum(map(len, wrapped)) > LINES_SHOWN and max(map(len, wrapped)) > 1:
        longest = max(wrapped, key=len)
        longest[-2:] = [f"{longest[-2][: LINE_CHARACTERS - 1].rstrip('…')}…"]
    return [part for parts in wrapped for part in parts]


def reconstruct(plan: Plan, run: Run, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Decode the clips' latents again: pictures beside the originals and PSNR go to MLflow; their mean is returned."""
    import torch

    from reelworks.models.vae import CausalVAE, to_frames
    from reelworks.models.vae_tiles import encode_frames
    from reelworks.resolve import resolve_model

    stage = plan.recipe.vae
    torch.set_num_threads(stage.pool.threads)
    vae = CausalVAE.load(resolve_model(plan.models["latents"]).path)
    pairs, table = [], []
    for row in rows:
        spans = indexed_spans(f"{plan.prefix('index')}{row['source_id']}", row, plan.recipe.clips)
        frames = rows_frames([row], plan.recipe.clips, spans)[0]
        with torch.no_grad():
            raw = encode_frames(vae, [frames], stage.chunk_latents, stage.pass_pixels)
            again = to_frames(vae.decode_chunks(raw, stage.chunk_latents))[0].numpy()  # (T, H, W, 3)
        psnr = psnr_db(frames, again)
        pairs += [(frames, [f"{row['source_uri'].rpartition('/')[2]} at {row['start_s']:.1f} s"])]
        pairs += [(again, [f"reconstruction: {psnr:.2f} dB"])]
        table.append({"clip_id": row["clip_id"], "start_s": row["start_s"], "psnr_db": psnr})
    mean = float(np.mean([entry["psnr_db"] for entry in table]))
    run.blob(contact_sheet(pairs), "prepare/reconstructions.png")
    run.json({"mean_psnr_db": mean, "clips": table}, "prepare/reconstructions.json")
    return {"vae_psnr_db": mean, "reconstructed_clips": len(table)}


def _fitted(frame: np.ndarray) -> Image.Image:
    """A frame scaled to fit a cell, in hard pixels where it grows."""
    image = Image.fromarray(frame)
    scale = CELL_PX / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BICUBIC)


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
