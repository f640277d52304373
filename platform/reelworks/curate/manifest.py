"""Manifests: Parquet or JSON Lines in the bucket whose rows name raw videos, read in batches of bounded memory."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from reelworks import storage
from reelworks.errors import StorageError, StorageErrorKind, UserError

SUFFIXES = (".parquet", ".jsonl")
FIELDS = ("uri", "caption", "etag", "size")

BATCH_ROWS = 4096
READ_BYTES = 1 << 20
# What S3 can name: a bucket, and a key without control characters that is no folder, of at most 1,024 bytes.
ADDRESS = re.compile(r"s3://[a-zA-Z0-9._-]{1,63}/[^\x00-\x1f\x7f]*[^/\x00-\x1f\x7f]")
MAX_ADDRESS_BYTES = 1024
# A caption is a few hundred bytes; a longer line than this is a file of another kind.
MAX_LINE_BYTES = 1 << 20


@dataclass(frozen=True)
class Row:
    """What one row says; `problem` is a sentence where it doesn't name a video."""

    place: str  # the manifest and the row, for people
    address: str  # the same as an address of its own: s3://bucket/manifest.jsonl#7
    digest: str  # of what the row says, wherever it stands
    uri: str = ""
    caption: str | None = None
    etag: str | None = None
    size: int | None = None
    problem: str | None = None


def is_manifest(place: str) -> bool:
    """Whether an entry of a recipe's `sources` is a manifest and no prefix."""
    return place.endswith(SUFFIXES)


def read_manifest_rows(manifest: str) -> Iterator[list[Row]]:
    """The rows of one version of a manifest in batches. Raises UserError where it isn't one, or isn't there."""
    try:
        file = cast(BinaryIO, storage.open_ranged(manifest, read_ahead=READ_BYTES))
    except StorageError as error:
        if error.kind not in (StorageErrorKind.not_found, StorageErrorKind.access_denied):
            raise
        raise UserError(
            f"the manifest {manifest} can't be read: {error.kind.value}",
            "a name in `sources` that ends in .parquet or .jsonl is a manifest; a prefix ends in /",
        ) from error
    return parquet_rows(file, manifest) if manifest.endswith(".parquet") else json_rows(file, manifest)


def json_rows(file: BinaryIO, manifest: str) -> Iterator[list[Row]]:
    """Batches of rows of a JSON Lines file; blank lines count as lines and give no row."""
    lines = io.BufferedReader(cast(Any, file), READ_BYTES)
    batch: list[Row] = []
    number = 0
    while line := lines.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise UserError(
                f"{manifest}, line {number}, is longer than {MAX_LINE_BYTES} bytes", "write one JSON object a line"
            )
        if not line.strip():
            continue
        try:
            row = row_of(json.loads(line), manifest, "line", number)
        except (ValueError, RecursionError) as error:
            row = _malformed(manifest, "line", number, f"it is no JSON ({error})", line)
        batch.append(row)
        if len(batch) == BATCH_ROWS:
            yield batch
            batch = []
    if batch:
        yield batch


def parquet_rows(file: BinaryIO, manifest: str) -> Iterator[list[Row]]:
    """Batches of rows of a Parquet file, its row groups one after the other; other columns are not read."""
    number = 0
    try:
        # Without pre-buffering and with a buffer, a column is read page by page, not by whole row groups.
        parquet = pq.ParquetFile(file, pre_buffer=False, buffer_size=READ_BYTES)
        names = parquet.schema_arrow.names
        if "uri" not in names:
            raise UserError(
                f"{manifest} has no column uri, but {', '.join(names)}", "name the column of s3:// addresses uri"
            )
        columns = [name for name in FIELDS if name in names]
        for table in parquet.iter_batches(BATCH_ROWS, columns=columns, use_threads=False):
            rows = table.to_pylist()
            yield [row_of(row, manifest, "row", number + i) for i, row in enumerate(rows, 1)]
            number += len(rows)
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"{manifest} can't be read as Parquet after row {number}: {error}", "write it again, or name another"
        ) from error


def row_of(value: Any, manifest: str, unit: str, number: int) -> Row:
    """One row from its parsed form, whatever that is."""
    raw = json.dumps(value, sort_keys=True, default=str).encode()
    if not isinstance(value, dict):
        return _malformed(manifest, unit, number, f"it is no object with a uri but {value!r:.80}", raw)
    # Tables that passed through pandas have NaN where nothing is.
    given = {name: value.get(name) for name in FIELDS}
    given = {name: None if item != item else item for name, item in given.items()}
    problem = _problem(given)
    if problem:
        return _malformed(manifest, unit, number, problem, raw)
    digest = hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()[:32]
    return Row(
        f"{manifest}, {unit} {number},",
        f"{manifest}#{number}",
        digest,
        str(given["uri"]),
        given["caption"] or None,
        given["etag"].strip('"') if given["etag"] else None,
        None if given["size"] is None else int(given["size"]),
    )


def _problem(given: dict[str, Any]) -> str | None:
    for name in ("uri", "caption", "etag"):
        if not isinstance(given[name], str) and (given[name] is not None or name == "uri"):
            return f"its {name} is {given[name]!r:.80}, not text"
        if given[name] and any("\ud800" <= character <= "\udfff" for character in given[name]):
            return f"its {name} {given[name]!r:.80} holds half of a surrogate pair"
    if not ADDRESS.fullmatch(given["uri"]) or len(given["uri"].encode()) > MAX_ADDRESS_BYTES:
        return f"its uri {given['uri']!r:.200} is no s3://bucket/key"
    size = given["size"]
    if size is not None and (isinstance(size, bool) or not isinstance(size, int | float) or size < 0 or size % 1):
        return f"its size is {size!r:.80}, not a number of bytes"
    return None


def _malformed(manifest: str, unit: str, number: int, problem: str, raw: bytes) -> Row:
    digest = hashlib.sha256(raw).hexdigest()[:32]
    return Row(f"{manifest}, {unit} {number},", f"{manifest}#{number}", digest, problem=problem)
