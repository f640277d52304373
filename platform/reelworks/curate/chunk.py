"""The row that flows through `prepare`: a run of clips of one source, and what the stages so far have found for it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from reelworks.curate.shots import Span
from reelworks.curate.sources import Source
from reelworks.schema import ClipRow

State = Literal["clips", "no_clips", "quarantined", "changed"]

# How the key of a chunk's object ends; objects of a whole source have no number.
CHUNK_NAME = re.compile(r"/(\d+)-of-\d+[^/]*$")
# A film's chunks take their own keys along, not those of all others, which would grow with its length squared.
NUMBER_BITS = 16

# Frames are a column of their own, so that a stage that needs none never touches their bytes.
TABLE = pa.schema([pa.field("chunk", pa.large_string()), pa.field("frames", pa.large_binary())])


@dataclass(frozen=True)
class Failure:
    """Why a source is in quarantine; the same words in every run."""

    stage: str
    kind: str
    message: str
    good_frames: int | None = None


class PassedOver(NamedTuple):
    """A clip that a threshold dropped, with all that the snapshot's decision needs."""

    row: ClipRow
    original: str | None
    scores: dict[str, float]
    likeness: str | None


@dataclass
class Chunk:
    """Consecutive clips of one source; a source that ends without clips is one chunk without rows."""

    source: Source
    stored: list[int]  # hashes of the keys that this source already has, from the listing
    number: int = 0
    count: int = 1
    state: State = "clips"
    shots: int = 0  # of the whole source, in each of its chunks
    failure: Failure | None = None
    rows: list[ClipRow] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    originals: list[str | None] = field(default_factory=list)  # what lies beside the video, 1:1 with rows
    scores: list[dict[str, float]] = field(default_factory=list)  # 1:1 with rows
    likenesses: list[str | None] = field(default_factory=list)  # perceptual hashes, 1:1 with rows
    passed_over: list[PassedOver] = field(default_factory=list)  # clips that no later stage works on
    captions: dict[str, list[str]] = field(default_factory=dict)  # variant -> texts, 1:1 with rows
    frames_digests: list[str | None] = field(default_factory=list)
    tensors: list[list[dict[str, Any]]] = field(default_factory=list)  # schema.TENSOR rows, 1:1 with rows
    counts: dict[str, float] = field(default_factory=dict)
    frames: list[np.ndarray] = field(default_factory=list)  # uint8 (T, H, W, 3), 1:1 with rows, or empty

    def add(self, name: str, value: float = 1) -> None:
        """Count something that happened to this chunk in this run."""
        self.counts[name] = self.counts.get(name, 0) + value

    def has(self, key: str) -> bool:
        """Whether the listing has seen this key (relative to the data set's root)."""
        return key_hash(key) in self.stored

    def end(self, state: State, failure: Failure | None = None) -> None:
        """Finish without clips: nothing of this source enters the snapshot."""
        self.state, self.failure = state, failure
        self.rows, self.spans, self.originals, self.frames, self.tensors = [], [], [], [], []
        self.scores, self.likenesses, self.captions, self.frames_digests = [], [], {}, []
        self.passed_over = []

    def pass_over(self, gone: Sequence[int]) -> None:
        """Take clips out of the work, by index: they keep what is known of them by now."""
        mine: list[list[Any]] = [self.rows, self.originals, self.scores, self.likenesses]
        self.passed_over = [*self.passed_over, *(PassedOver(*(values[index] for values in mine)) for index in gone)]
        for values in (*mine, self.spans, self.tensors, self.frames):
            values[:] = [value for index, value in enumerate(values) if index not in gone]

    @property
    def num_clips(self) -> int:
        """All clips, those included that no later stage works on."""
        return len(self.rows) + len(self.passed_over)

    @property
    def clip_ids(self) -> list[str]:
        return [row.clip_id for row in self.rows]


def key_hash(key: str) -> int:
    """48 bits of a key and the low 16 of its chunk's number; what the listing remembers of every stored object."""
    name = CHUNK_NAME.search(key)
    number = int(name[1]) % 2**NUMBER_BITS if name else 0
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6], "little") << NUMBER_BITS | number


def by_chunk(stored: Sequence[int]) -> Callable[[int], list[int]]:
    """A function from a chunk's number to those key hashes that can be its own."""
    mine: dict[int, list[int]] = {}
    for found in stored:
        mine.setdefault(found % 2**NUMBER_BITS, []).append(found)
    return lambda number: mine.get(number % 2**NUMBER_BITS, [])


def to_table(chunks: list[Chunk]) -> pa.Table:
    """Chunks as a block of Ray Data."""
    texts = []
    for chunk in chunks:
        fields = {name: value for name, value in vars(chunk).items() if name not in ("frames", "source", "failure")}
        fields |= {"source": asdict(chunk.source), "failure": asdict(chunk.failure) if chunk.failure else None}
        fields["spans"] = [span.fields() for span in chunk.spans]
        texts.append(json.dumps(fields))
    return pa.table([pa.array(texts, pa.large_string()), _joined([chunk.frames for chunk in chunks])], schema=TABLE)


def _joined(frames: list[list[np.ndarray]]) -> pa.Array:
    """The column of frames, null where there are none; each clip is copied once, since a block may be all there is."""
    sizes = [sum(clip.nbytes for clip in clips) for clips in frames]
    ends = np.cumsum([0, *sizes], dtype=np.int64)
    data = np.empty(ends[-1], np.uint8)
    at = 0
    for clip in chain.from_iterable(frames):
        np.copyto(data[at : at + clip.nbytes].reshape(clip.shape), clip)
        at += clip.nbytes
    valid = pa.array([bool(clips) for clips in frames], pa.bool_()).buffers()[1]
    return pa.Array.from_buffers(pa.large_binary(), len(frames), [valid, pa.py_buffer(ends), pa.py_buffer(data)])


def from_table(table: pa.Table) -> list[Chunk]:
    """The inverse of to_table; frames are views of the block's memory."""
    chunks = []
    for text, frames in zip(table["chunk"].to_pylist(), table["frames"], strict=True):
        fields = json.loads(text)
        fields["source"] = Source(**fields["source"])
        fields["failure"] = Failure(**fields["failure"]) if fields["failure"] else None
        fields["rows"] = [ClipRow(*row) for row in fields["rows"]]
        fields["spans"] = [Span.from_fields(span) for span in fields["spans"]]
        fields["passed_over"] = [PassedOver(ClipRow(*row), *rest) for row, *rest in fields["passed_over"]]
        chunk = Chunk(**fields)
        if frames.is_valid:
            chunk.frames = _split(np.frombuffer(frames.as_buffer(), np.uint8), chunk.rows)
        chunks.append(chunk)
    return chunks


def _split(pixels: np.ndarray, rows: list[ClipRow]) -> list[np.ndarray]:
    shapes = [(row.num_frames, row.height, row.width, 3) for row in rows]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    return [part.reshape(shape) for part, shape in zip(np.split(pixels, ends[:-1]), shapes, strict=True)]
