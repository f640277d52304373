"""The text-embedding actors: every caption of a clip, each distinct text embedded once."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa

from reelworks import storage
from reelworks.curate.chunk import Chunk, from_table, to_table
from reelworks.curate.early import load_early
from reelworks.curate.plan import Plan
from reelworks.curate.tensors import locate, pack, read_header

if TYPE_CHECKING:
    import torch

    from reelworks.models.text import TextEncoder

# Embeddings kept by an actor for texts that come again; a caption of 20 tokens at 384 wide is 30 KiB.
KEPT_BYTES = 256 << 20


class TextActor:
    """Embeddings for the captions of chunks, one object each."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self._kept: OrderedDict[str, torch.Tensor] = OrderedDict()
        self._kept_bytes = 0
        load_early(plan, "text", lambda: self.encoder)

    @cached_property
    def encoder(self) -> TextEncoder:
        """Loaded at first need at the latest."""
        import torch

        from reelworks.models.text import TextEncoder
        from reelworks.resolve import resolve_model

        stage = self.plan.recipe.text
        torch.set_num_threads(stage.pool.threads)
        path = resolve_model(self.plan.models["text"]).path
        batch = 1 if self.plan.recipe.deterministic else stage.batch_texts
        return TextEncoder(path, stage.max_tokens, stage.pool.device, batch_size=batch)

    def __call__(self, table: pa.Table) -> pa.Table:
        chunks = from_table(table)
        if not self.plan.recipe.deterministic:
            self.embed_together(chunks)
        for chunk in chunks:
            if texts := texts_of(chunk):
                self.embed(chunk, texts)
        return to_table(chunks)

    def embed(self, chunk: Chunk, texts: dict[str, list[str | None]]) -> None:
        """Store the embeddings of a chunk's texts (or find them stored) and note where each clip's are."""
        key = self.key(chunk, texts)
        uri = self.plan.uri(key)
        if chunk.has(key):
            head = read_header(uri)
        else:
            distinct = dict.fromkeys(text for found in texts.values() for text in found if text is not None)
            data = pack({name_of(text): self.embedding(chunk, text) for text in distinct}, {})
            stored = storage.create_once(uri, data)
            chunk.add("nondeterministic", stored.data != data)
            head = stored.data
        places, _ = locate(uri, head)
        for variant, found in texts.items():
            for tensors, text in zip(chunk.tensors, found, strict=True):
                if text is not None:
                    span = {"frame_start": None, "frame_end": None}
                    tensors.append({"name": f"text.{variant}", **span, **places[name_of(text)]})

    def key(self, chunk: Chunk, texts: dict[str, list[str | None]]) -> str:
        return self.plan.chunk_key("text", texts_content(texts), chunk.source.source_id, chunk.number, chunk.count)

    def embed_together(self, chunks: list[Chunk]) -> None:
        """Embed what the chunks lack in shared batches, texts of like length together, and keep it for `embed`."""
        wanted: dict[str, Chunk] = {}
        for chunk in chunks:
            if (texts := texts_of(chunk)) and not chunk.has(self.key(chunk, texts)):
                wanted.update((text, chunk) for found in texts.values() for text in found if text is not None)
        missing = sorted((text for text in wanted if text not in self._kept), key=lambda text: (len(text), text))
        for text, states in zip(missing, self.encoder.encode(missing) if missing else [], strict=True):
            wanted[text].add("embedded_texts")
            self._keep(text, states)

    def embedding(self, chunk: Chunk, text: str) -> torch.Tensor:
        """States (L, D) of one text, computed alone, or kept from the last time it came."""
        if text in self._kept:
            self._kept.move_to_end(text)
            return self._kept[text]
        states = self.encoder.encode([text])[0]  # (L, D)
        chunk.add("embedded_texts")
        self._keep(text, states)
        return states

    def _keep(self, text: str, states: torch.Tensor) -> None:
        self._kept[text] = states
        self._kept_bytes += states.nbytes
        while self._kept_bytes > KEPT_BYTES:
            self._kept_bytes -= self._kept.popitem(last=False)[1].nbytes


def texts_of(chunk: Chunk) -> dict[str, list[str | None]]:
    """Variant -> the text of each clip, None where a clip has none; empty where no clip has any."""
    found: dict[str, list[str | None]] = {name: list(texts) for name, texts in chunk.captions.items()}
    if any(text is not None for text in chunk.originals):
        found["original"] = chunk.originals
    return dict(sorted(found.items()))


def texts_content(texts: Mapping[str, Sequence[str | None]]) -> list[str | None]:
    """What the key of a chunk's embeddings is made of: its texts by variant, in the order of texts_of."""
    return [f"{name}={text}" if text is not None else None for name in texts for text in texts[name]]


def name_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
