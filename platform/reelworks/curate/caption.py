"""The recaptioning actors."""

from __future__ import annotations

import io
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from reelworks import storage
from reelworks.curate.chunk import Chunk, from_table, to_table
from reelworks.curate.early import load_early
from reelworks.curate.plan import Plan
from reelworks.curate.tables import read_table

if TYPE_CHECKING:
    from reelworks.models.clip_captioner import ClipCaptioner

CAPTIONS = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("short", pa.string()),
        pa.field("descriptive", pa.string()),
        pa.field("frames_digest", pa.string(), nullable=False),
    ]
)


class CaptionActor:
    """Captions for chunks, one object each; what is stored already is read, not computed."""

    def __init__(self, plan: Plan):
        self.plan = plan
        load_early(plan, "captions", lambda: self.captioner)

    @cached_property
    def captioner(self) -> ClipCaptioner[Any]:
        """Loaded at first need at the latest: a resumed run whose captions are all there loads no model."""
        import torch

        from reelworks.models.processor_captioner import open_captioner
        from reelworks.resolve import resolve_model

        stage = self.plan.recipe.captioner
        assert stage is not None
        torch.set_num_threads(stage.pool.threads)
        path = resolve_model(self.plan.models["captions"]).path
        return open_captioner(
            path, stage.pool.device, max_new_tokens=stage.max_new_tokens, batch_size=stage.batch_clips
        )

    def __call__(self, table: pa.Table) -> pa.Table:
        chunks = from_table(table)
        todo = []
        for chunk in (chunk for chunk in chunks if chunk.rows):
            if chunk.has(self.key(chunk)):
                read_captions(chunk, storage.get_bytes(self.plan.uri(self.key(chunk))))
            else:
                todo.append(chunk)
        for group in [[chunk] for chunk in todo] if self.plan.recipe.deterministic else [todo]:
            if group:
                self.caption(group)
        return to_table(chunks)

    def key(self, chunk: Chunk) -> str:
        return self.plan.chunk_key("captions", chunk.clip_ids, chunk.source.source_id, chunk.number, chunk.count)

    def caption(self, group: list[Chunk]) -> None:
        """Describe the clips of a group of chunks together and store each chunk's captions."""
        stage = self.plan.recipe.captioner
        assert stage is not None
        inputs = [self.captioner.read(frames) for chunk in group for frames in chunk.frames]
        texts = self.captioner.captions(inputs, stage.variants)
        first = 0
        for chunk in group:
            mine = slice(first, first + len(chunk.rows))
            first = mine.stop
            # The digest is of what the model was given: a caption that went astray shows in `verify`.
            columns = {variant: found[mine] for variant, found in texts.items()}
            data = captions_object(chunk.clip_ids, columns, [one.digest for one in inputs[mine]])
            stored = storage.create_once(self.plan.uri(self.key(chunk)), data)
            chunk.add("nondeterministic", stored.data != data)
            chunk.add("captioned_clips", len(chunk.rows))
            read_captions(chunk, stored.data)


def captions_object(clip_ids: list[str], texts: dict[str, list[str]], digests: list[str]) -> bytes:
    """The stored table of a chunk's captions; equal content gives equal bytes."""
    empty = [None] * len(clip_ids)
    columns: list[Any] = [clip_ids, texts.get("short", empty), texts.get("descriptive", empty), digests]
    table = pa.table([pa.array(c, f.type) for c, f in zip(columns, CAPTIONS, strict=True)], schema=CAPTIONS)
    out = io.BytesIO()
    pq.write_table(table, out, compression="none", use_dictionary=False, store_schema=False)
    return out.getvalue()


def read_captions(chunk: Chunk, data: bytes) -> None:
    """Take a chunk's captions over from its stored table. Raises ValueError where it is about other clips."""
    table = read_table(data)
    if table["clip_id"].to_pylist() != chunk.clip_ids:
        raise ValueError(f"the captions stored for {chunk.source.uri} are about other clips")
    found = {name: table[name].to_pylist() for name in ("short", "descriptive")}
    chunk.captions = {name: texts for name, texts in found.items() if None not in texts}
    chunk.frames_digests = table["frames_digest"].to_pylist()
