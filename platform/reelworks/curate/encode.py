"""The VAE-encoding actors: raw latents of every clip, and of its last 1 and 5 frames encoded alone.

Axes: B clips, C channels, T frames, H W rows and columns, t h w in latent space.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from reelworks import storage
from reelworks.curate.chunk import Chunk, from_table, to_table
from reelworks.curate.early import load_early
from reelworks.curate.plan import Plan
from reelworks.curate.tensors import locate, pack, read_header

if TYPE_CHECKING:
    import torch

    from reelworks.models.vae import CausalVAE

# Known segments enter the diffusion transformer encoded alone, as at sampling time: an image, or the end of a video.
TAILS = (1, 5)


class LatentActor:
    """Latents for chunks, one object each; what is stored already is read, not computed."""

    def __init__(self, plan: Plan):
        self.plan = plan
        load_early(plan, "latents", lambda: self.vae)

    @cached_property
    def vae(self) -> CausalVAE:
        """Loaded at first need at the latest."""
        import torch

        from reelworks.models.vae import CausalVAE
        from reelworks.resolve import resolve_model

        pool = self.plan.recipe.vae.pool
        torch.set_num_threads(pool.threads)
        return CausalVAE.load(resolve_model(self.plan.models["latents"]).path, pool.device)

    def __call__(self, table: pa.Table) -> pa.Table:
        chunks = from_table(table)
        for chunk in chunks:
            if chunk.rows:
                self.encode(chunk)
            chunk.frames = []  # no later stage needs them
        return to_table(chunks)

    def encode(self, chunk: Chunk) -> None:
        """Store the latents of a chunk's clips (or find them stored) and note where each clip's are."""
        key = self.plan.chunk_key("latents", chunk.clip_ids, chunk.source.source_id, chunk.number, chunk.count)
        uri = self.plan.uri(key)
        if chunk.has(key):
            head = read_header(uri)
        else:
            blocks, moments = self.blocks(chunk)
            data = pack(blocks, {"moments": moments})
            stored = storage.create_once(uri, data)
            chunk.add("nondeterministic", stored.data != data)
            chunk.add("encoded_clips", len(chunk.rows))
            head = stored.data
        places, about = locate(uri, head)
        for name, value in about["moments"].items():
            chunk.add(f"final_{name}", value)
        for row, tensors in zip(chunk.rows, chunk.tensors, strict=True):
            for name, start in segments(row.num_frames).items():
                span = {"frame_start": start, "frame_end": row.num_frames}
                tensors.append({"name": name, **span, **places[f"{row.clip_id}.{name}"]})

    def blocks(self, chunk: Chunk) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
        """Tensors by `<clip id>.<name>`, and the moments of the clips' final latents (count, sum, sum of squares)."""
        blocks: dict[str, torch.Tensor] = {}
        moments = {"count": 0.0, "sum": 0.0, "squares": 0.0}
        wanted = [
            (f"{row.clip_id}.{name}", frames[start:])
            for row, frames in zip(chunk.rows, chunk.frames, strict=True)
            for name, start in segments(row.num_frames).items()
        ]
        for group in _same_shape(wanted, self.clips_a_pass):
            raw = self.encode_batch([frames for _, frames in group])  # (B, C, t, h, w)
            for (name, _), latents in zip(group, raw, strict=True):
                blocks[name] = latents.clone()
                if name.endswith(".latents"):
                    final = self.vae.final_latents(latents.float()).double()
                    moments["count"] += final.numel()
                    moments["sum"] += float(final.sum())
                    moments["squares"] += float((final * final).sum())
        return blocks, moments

    def clips_a_pass(self, shape: tuple[int, ...]) -> int:
        """How many clips of frames (T, H, W, 3) are encoded together."""
        from reelworks.models.vae_tiles import clips_a_pass

        stage = self.plan.recipe.vae
        return min(stage.batch_clips, clips_a_pass(shape, stage.chunk_latents, stage.pass_pixels))

    def encode_batch(self, clips: Sequence[np.ndarray]) -> torch.Tensor:
        """Raw latents (B, C, t, h, w) of clips uint8 (T, H, W, 3) of one shape, in temporal chunks and in tiles."""
        import torch

        from reelworks.models.vae_tiles import encode_frames

        stage = self.plan.recipe.vae
        with torch.autocast("cuda", torch.bfloat16, enabled=stage.pool.device == "cuda"):
            return encode_frames(self.vae, clips, stage.chunk_latents, stage.pass_pixels)


def segments(num_frames: int) -> dict[str, int]:
    """Name -> first frame of what is encoded of a clip: all of it, and those tails that it is long enough for."""
    return {"latents": 0} | {f"tail_{size}": num_frames - size for size in TAILS if size <= num_frames}


def _same_shape(
    wanted: list[tuple[str, np.ndarray]], at_once: Callable[[tuple[int, ...]], int]
) -> list[list[tuple[str, np.ndarray]]]:
    """Groups of one shape, at most `at_once(shape)` long, in an order that only the chunk decides."""
    groups: dict[tuple[int, ...], list[tuple[str, np.ndarray]]] = {}
    for name, frames in wanted:
        groups.setdefault(frames.shape, []).append((name, frames))
    return [
        group[first : first + at_once(shape)]
        for shape, group in groups.items()
        for first in range(0, len(group), at_once(shape))
    ]


def final_std(counts: dict[str, Any]) -> float | None:
    """Standard deviation of all final latents of a run, from the sums of their moments."""
    count = counts.get("final_count", 0)
    if not count:
        return None
    mean = counts["final_sum"] / count
    return float(max(0.0, counts["final_squares"] / count - mean * mean) ** 0.5)
