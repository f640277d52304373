"""Committed versions of the data set: found by name, read back whole."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from reelworks import schema, storage
from reelworks.curate.plan import sha256
from reelworks.curate.tables import read_table
from reelworks.errors import UserError

REFERENCE = re.compile(r"(?P<name>[^@#]+)@(?P<number>latest|\d+)(#(?P<id>[0-9a-f]{64}))?")


@dataclass(frozen=True)
class SnapshotRef:
    """One committed snapshot; id is the sha256 of its manifest."""

    name: str
    number: int
    id: str

    def __str__(self) -> str:
        return f"{self.name}@{self.number}#{self.id}"


@dataclass(frozen=True)
class Snapshot:
    """A snapshot's manifest and its clips (schema.CLIP), sorted by clip_id."""

    ref: SnapshotRef
    manifest: dict[str, Any]
    clips: pa.Table


def manifest_uri(root: str, name: str, number: int) -> str:
    return f"{root.rstrip('/')}/snapshots/{name}/{number}.json"


def removed_uri(root: str, name: str, number: int) -> str:
    """What `dataset gc` leaves of a manifest that it removes, its id and its parent's: so the chain still holds."""
    return f"{root.rstrip('/')}/snapshots/{name}/{number}.removed"


def list_snapshots(root: str) -> Iterator[tuple[str, int, storage.ObjectInfo]]:
    """(name, number, its manifest's object) of every snapshot of a data set."""
    prefix = f"{root.rstrip('/')}/snapshots/"
    for found in storage.list_objects(prefix):
        name, _, number = found.uri.removeprefix(prefix).removesuffix(".json").rpartition("/")
        if name and number.isdigit():
            yield name, int(number), found


def read_link(root: str, name: str, number: int) -> tuple[str, str | None]:
    """(id, parent's id) of a snapshot, also of one that `dataset gc` has removed. Raises StorageError, UserError."""
    removed = removed_uri(root, name, number)
    if storage.head(manifest_uri(root, name, number)) is None and storage.head(removed):
        left = _parsed(removed, storage.get_bytes(removed))
        return left.get("id", ""), left["parent"]
    uri = manifest_uri(root, name, number)
    data = storage.get_bytes(uri)
    return sha256(data), _parsed(uri, data)["parent"]


def newest_number(root: str, name: str) -> int:
    """The highest committed number of a name; 0 where there is none."""
    listed = storage.list_objects(f"{root.rstrip('/')}/snapshots/{name}/")
    numbers = [found.key.rpartition("/")[2].removesuffix(".json") for found in listed]
    return max((int(number) for number in numbers if number.isdigit()), default=0)


def resolve_snapshot(root: str, reference: str) -> SnapshotRef:
    """`name@latest`, `name@3` or `name@3#id` as one immutable snapshot. Raises UserError where there is none."""
    return _open(root, reference)[0]


def read_manifest(root: str, reference: SnapshotRef | str) -> tuple[SnapshotRef, dict[str, Any]]:
    """A snapshot's JSON, checked against its id. Raises UserError where there is none."""
    return _open(root, str(reference))


def read_snapshot(root: str, reference: SnapshotRef | str) -> Snapshot:
    """A snapshot with all its rows, every part checked against its digest."""
    ref, manifest = _open(root, str(reference))
    tables = list(read_tables(root, manifest["parts"]))
    clips = with_likeness(pa.concat_tables(tables) if tables else schema.CLIP.empty_table())
    return Snapshot(ref, manifest, clips.select(schema.CLIP.names).cast(schema.CLIP))


def with_likeness(clips: pa.Table) -> pa.Table:
    """Clip rows with their column of perceptual hashes, null where they were committed before clips had one."""
    if "likeness" in clips.column_names:
        return clips
    return clips.append_column("likeness", pa.nulls(len(clips), pa.string()))


def read_tables(root: str, parts: Sequence[dict[str, Any]], columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The rows of some parts, a table each, every part checked against its digest; only the named columns if any."""
    for part in parts:
        yield read_table(read_part(root, part), columns)


def read_part(root: str, part: dict[str, Any]) -> bytes:
    """The bytes of a snapshot's part. Raises UserError where they aren't those that were committed."""
    uri = f"{root.rstrip('/')}/{part['key']}"
    data = storage.get_bytes(uri)
    if sha256(data) != part["digest"]:
        raise UserError(f"{uri} is not what the snapshot committed", "run `reelworks dataset verify`")
    return data


def _open(root: str, reference: str) -> tuple[SnapshotRef, dict[str, Any]]:
    match = REFERENCE.fullmatch(reference)
    if match is None:
        raise UserError(f"{reference!r} names no snapshot", "write name@latest, name@3 or name@3#<id>")
    name = match["name"]
    number = newest_number(root, name) if match["number"] == "latest" else int(match["number"])
    uri = manifest_uri(root, name, number)
    if number < 1 or storage.head(uri) is None:
        if number and storage.head(removed_uri(root, name, number)):
            raise UserError(f"{reference} under {root} was removed by `dataset gc`", "name a snapshot that was kept")
        raise UserError(f"there is no snapshot {reference} under {root}", "run prepare, or see the numbers there are")
    data = storage.get_bytes(uri)
    ref = SnapshotRef(name, number, sha256(data))
    if match["id"] and match["id"] != ref.id:
        raise UserError(f"snapshot {name}@{number} is {ref.id}, not {match['id']}", "it was not written by us")
    return ref, _parsed(uri, data)


def _parsed(uri: str, data: bytes) -> dict[str, Any]:
    """A manifest from its bytes. Raises UserError where they are none."""
    try:
        found = json.loads(data)
    except ValueError as error:
        raise UserError(f"{uri} is no manifest: {error}", "take it back from a copy of the bucket") from error
    if not isinstance(found, dict) or "parent" not in found:
        raise UserError(f"{uri} is no manifest: it names no parent", "take it back from a copy of the bucket")
    return found
