"""Rows that cross a boundary, and the deterministic ids that everything stored is named by.

Axis legend: B batch, T frames, H W rows and columns, C channels, L tokens, D width, t h w latent frames, rows, columns.
"""

from __future__ import annotations

import uuid
from typing import NamedTuple

import pyarrow as pa

# Any fixed value will do; it keeps our ids apart from other users of uuid5.
SOURCE_NAMESPACE = uuid.UUID("6f1dfb5c-3c0e-5d0a-9a3e-52d36c5c3b11")

TENSOR = pa.struct(
    [
        pa.field("name", pa.string(), nullable=False),  # latents, tail_1, tail_5, text.original, text.short, ...
        pa.field("frame_start", pa.int64()),  # first encoded frame covered; null for text
        pa.field("frame_end", pa.int64()),  # one past the last encoded frame covered; null for text
        pa.field("shape", pa.list_(pa.int64()), nullable=False),
        pa.field("dtype", pa.string(), nullable=False),  # NumPy's name, little endian
        pa.field("uri", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),  # bytes from the object's start
        pa.field("length", pa.int64(), nullable=False),  # bytes
        pa.field("digest", pa.string(), nullable=False),  # sha256 of these bytes
    ]
)

# Which clip a row is about, and where it lies in its source.
SPAN = (
    pa.field("clip_id", pa.string(), nullable=False),
    pa.field("source_id", pa.string(), nullable=False),
    pa.field("source_uri", pa.string(), nullable=False),
    pa.field("source_etag", pa.string(), nullable=False),
    pa.field("start_s", pa.float64(), nullable=False),
    pa.field("end_s", pa.float64(), nullable=False),
)

CLIP = pa.schema(
    [
        *SPAN,
        pa.field("width", pa.int32(), nullable=False),  # encoded
        pa.field("height", pa.int32(), nullable=False),
        pa.field("native_width", pa.int32(), nullable=False),
        pa.field("native_height", pa.int32(), nullable=False),
        pa.field("native_fps", pa.float64(), nullable=False),
        pa.field("native_num_frames", pa.int64(), nullable=False),
        pa.field("fps", pa.float64(), nullable=False),  # encoded
        pa.field("num_frames", pa.int32(), nullable=False),  # encoded, 4k + 1
        pa.field("num_tokens", pa.int32(), nullable=False),  # latent positions t * h * w
        pa.field("caption_original", pa.string()),
        pa.field("caption_short", pa.string()),
        pa.field("caption_descriptive", pa.string()),
        pa.field("captioner", pa.string()),  # the captions stage's fingerprint
        pa.field("frames_digest", pa.string()),  # sha256 of the frames that the captioner was given
        pa.field("scores", pa.map_(pa.string(), pa.float64()), nullable=False),
        pa.field("likeness", pa.string()),  # perceptual hash, hex
        pa.field("tensors", pa.list_(TENSOR), nullable=False),
    ]
)

DROPPED = pa.schema(
    [
        *SPAN,
        pa.field("reason", pa.string(), nullable=False),  # the score that is out of bounds, or "duplicate"
        pa.field("value", pa.float64()),  # that score; null for a duplicate
        pa.field("duplicate_of", pa.string()),  # the clip that stays
    ]
)

QUARANTINE = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        pa.field("etag", pa.string(), nullable=False),
        pa.field("source_id", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
        pa.field("good_frames", pa.int64()),
    ]
)


def source_id(bucket: str, key: str, etag: str) -> str:
    """Id of one version of one object: equal content under another key is another source."""
    # A length in front of each part keeps ("a", "bc") and ("ab", "c") apart.
    return str(uuid.uuid5(SOURCE_NAMESPACE, "".join(f"{len(part)}:{part}" for part in (bucket, key, etag))))


def clip_id(source: str, first_pts: int, last_pts: int, time_base: str) -> str:
    """Id of a span of a source, from the integer timestamps of its first and last frame in units of time_base."""
    return str(uuid.uuid5(uuid.UUID(source), f"{first_pts}:{last_pts}:{time_base}"))


class ClipRow(NamedTuple):
    """One clip as cut from its source, before any model has seen it; the geometry part of CLIP."""

    clip_id: str
    source_id: str
    source_uri: str
    source_etag: str
    start_s: float
    end_s: float
    width: int
    height: int
    native_width: int
    native_height: int
    native_fps: float
    native_num_frames: int
    fps: float
    num_frames: int
    num_tokens: int
