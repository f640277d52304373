"""Which stored objects a snapshot stands on: found from its manifest and tables alone, remembered in 16 bytes each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from reelworks.curate.clips import ClipSpec
from reelworks.curate.index import clips_in
from reelworks.curate.seen import Seen
from reelworks.curate.snapshot import read_tables
from reelworks.curate.sources import Source

# What a run finds about a whole source; `retried` holds the records that were in `quarantine`.
BY_SOURCE = ("index", "quarantine", "retried")
# What the encoders made, under a key that names its clips: with other thresholds there are several for one chunk.
BY_CLIPS = ("captions", "text", "latents")
# An index object doesn't say whose it is; how many clips it gives depends on no address.
NO_SOURCE = Source("s3://-/-", "", 0)


@dataclass(frozen=True)
class Address:
    """What the key of a stage's object says."""

    stage: str
    fingerprint: str
    source_id: str

    @property
    def place(self) -> str:
        """One for all that belongs to a source's index, or to a source's scores, under one fingerprint."""
        return f"{'index' if self.stage in BY_SOURCE else self.stage}/{self.fingerprint}/{self.source_id}"


def parse(key: str) -> Address | None:
    """What a key below the data set's root says; None for what is no stage's object.

    index|quarantine/<fp>/<source_id>, retried/<fp>/<source_id>/<attempts>,
    scores*|captions|text|latents/<fp>/<content>/<source_id>/<chunk>.
    """
    stage, *rest = key.split("/")
    if stage in BY_SOURCE and len(rest) == (3 if stage == "retried" else 2):
        return Address(stage, rest[0], rest[1])
    if (stage in BY_CLIPS or is_scores(stage)) and len(rest) == 4:
        return Address(stage, rest[0], rest[2])
    return None


def is_scores(stage: str) -> bool:
    return stage == "scores" or stage.startswith("scores.")


class Reach:
    """The objects that some snapshots of a data set stand on."""

    def __init__(self, root: str):
        self.root = root
        self._keys = Seen()
        self._taken: set[tuple[str, ...]] = set()
        self._specs: dict[str, list[ClipSpec]] = {}  # the index stage's fingerprint -> what made clips of its spans

    def take_in(self, manifest: Mapping[str, Any]) -> None:
        """Add all that a snapshot stands on. Raises UserError or StorageError where a table of it can't be read."""
        fingerprints: dict[str, str] = manifest["fingerprints"]
        spec = ClipSpec.model_validate(manifest["clips"])
        specs = self._specs.setdefault(fingerprints["index"], [])
        specs += [] if spec in specs else [spec]
        # Equal rows under other scores' fingerprints stand on other objects.
        about = tuple(f"{stage}/{fingerprints[stage]}" for stage in sorted(fingerprints) if stage not in BY_CLIPS)
        for part in [*manifest["parts"], *manifest.get("dropped", []), manifest["quarantine"]]:
            if (part["key"], *about) in self._taken:
                continue
            self._taken.add((part["key"], *about))
            self._keys.add([part["key"]])
            columns = ("source_id", "tensors") if part in manifest["parts"] else ("source_id",)
            for table in read_tables(self.root, [part], columns):
                sources = pc.unique(table["source_id"]).to_pylist()
                self._keys.add([f"{stage}/{source_id}" for source_id in sources for stage in about])
                if "tensors" in columns:
                    self._keys.add([*self._of_clips(table, fingerprints)])

    def _of_clips(self, table: pa.Table, fingerprints: Mapping[str, str]) -> Iterator[str]:
        for uri in pc.unique(pc.struct_field(pc.list_flatten(table["tensors"]), "uri")).to_pylist():
            key = uri.removeprefix(f"{self.root}/")
            yield key
            stage, _, about = key.partition(f"/{fingerprints['latents']}/")
            if stage == "latents" and "captions" in fingerprints:
                # The same clips, so the same content, source and chunk.
                yield f"captions/{fingerprints['captions']}/{about.removesuffix('.safetensors')}.parquet"

    def has(self, keys: Sequence[str]) -> list[bool]:
        """Whether the snapshots stand on each of these objects; keys below the root."""
        found = [parse(key) for key in keys]
        return self._keys.has(
            [
                key if address is None or address.stage in BY_CLIPS else address.place
                for key, address in zip(keys, found, strict=True)
            ]
        )

    def knows_index(self, address: Address) -> bool:
        """Whether a source's index was made as the snapshots' were: one without clips stands in none of their tables,
        and saves a decode all the same."""
        return address.stage == "index" and address.fingerprint in self._specs

    def has_no_clips(self, address: Address, data: bytes) -> bool:
        """Whether an index object gives no clip, so that no table names its source."""
        index = json.loads(data)
        if index["state"] != "clips":
            return bool(index["state"] == "no_clips")
        return any(not any(clips_in(index, NO_SOURCE, spec)) for spec in self._specs[address.fingerprint])
