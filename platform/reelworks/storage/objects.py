"""Single objects: read, list, and the two conditional writes that everything else is built on."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TypeVar

from reelworks.errors import StorageError, StorageErrorKind, UserError
from reelworks.storage.body import read_object
from reelworks.storage.client import s3, translated
from reelworks.storage.traffic import count

# S3 takes up to 5 GiB in one PUT; parts of 64 MiB keep memory flat and a retry cheap.
PART_BYTES = 64 * 2**20
# A conflict of writers clears within milliseconds; a lost server doesn't within any number of tries.
WRITE_ATTEMPTS = 5
# The most keys that S3 takes in one request.
DELETED_AT_ONCE = 1000

T = TypeVar("T")


@dataclass(frozen=True)
class ObjectInfo:
    """What a listing says of an object."""

    uri: str
    bucket: str
    key: str
    etag: str
    size: int
    modified_s: float  # by the store's clock, in seconds since 1970


@dataclass(frozen=True)
class Stored:
    """The object that is in the bucket after `create_once`, whoever wrote it."""

    etag: str
    digest: str
    created: bool
    data: bytes


def split_uri(uri: str) -> tuple[str, str]:
    """`s3://bucket/key` as (bucket, key); the key may be empty. UserError for anything else."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise UserError(f"{uri!r} is no s3:// address", "Write s3://bucket/key")
    return bucket, key


def list_objects(prefix_uri: str, start_after: str | None = None) -> Iterator[ObjectInfo]:
    """Objects under a prefix in key order, page by page; `start_after` is a key of the same bucket."""
    bucket, prefix = split_uri(prefix_uri)
    token: dict[str, str] = {"StartAfter": start_after} if start_after else {}
    while True:
        with translated(prefix_uri):
            page = s3().list_objects_v2(Bucket=bucket, Prefix=prefix, **token)
        for item in page.get("Contents", []):
            etag, modified_s = item["ETag"].strip('"'), item["LastModified"].timestamp()
            yield ObjectInfo(f"s3://{bucket}/{item['Key']}", bucket, item["Key"], etag, item["Size"], modified_s)
        if not page.get("IsTruncated"):
            return
        token = {"ContinuationToken": page["NextContinuationToken"]}


def head(uri: str) -> ObjectInfo | None:
    """ETag and size of an object, None when there is none."""
    bucket, key = split_uri(uri)
    try:
        with translated(uri):
            answer = s3().head_object(Bucket=bucket, Key=key)
    except StorageError as error:
        if error.kind is StorageErrorKind.not_found:
            return None
        raise
    modified_s = answer["LastModified"].timestamp()
    return ObjectInfo(uri, bucket, key, answer["ETag"].strip('"'), answer["ContentLength"], modified_s)


def clock_s(uri: str) -> float:
    """What time it is in the store of a bucket, in seconds since 1970: what ages of its objects are measured by."""
    with translated(uri):
        answer = s3().head_bucket(Bucket=split_uri(uri)[0])
    return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()


def get_bytes(uri: str, *, start: int | None = None, length: int | None = None, etag: str | None = None) -> bytes:
    """An object's bytes, or `length` of them from `start`; StorageError `changed` if its ETag isn't `etag`."""
    if length == 0:
        return b""
    bucket, key = split_uri(uri)
    extra: dict[str, str] = {"IfMatch": f'"{etag}"'} if etag else {}
    if start is not None or length is not None:
        first = start or 0
        extra["Range"] = f"bytes={first}-" + (str(first + length - 1) if length is not None else "")
    try:
        return read_object(uri, bucket, key, b"".join, **extra)[1]
    except StorageError as error:
        if error.message in ("InvalidRange", "416"):  # reading from the end onwards, as files allow
            return b""
        raise


def get_file(uri: str, path: Path) -> str:
    """Streams an object into a file; the sha256 of what was written."""

    def write(pieces: Iterator[bytes]) -> str:
        with path.open("wb") as file:
            return _sha256(pieces, file.write)

    return read_object(uri, *split_uri(uri), write)[1]


def create_once(uri: str, data: bytes) -> Stored:
    """Writes an object if there is none, and returns the one that is stored: ours or an earlier one.

    A lost answer is settled by reading back, so `created` may be False although the bytes are ours.
    """
    bucket, key = split_uri(uri)

    def put() -> Stored:
        with translated(uri):
            answer = s3().put_object(Bucket=bucket, Key=key, Body=data, IfNoneMatch="*")
        count(written=len(data))
        return Stored(answer["ETag"].strip('"'), hashlib.sha256(data).hexdigest(), True, data)

    def read_back() -> Stored | None:
        found = _read(uri)
        return Stored(found[0], hashlib.sha256(found[1]).hexdigest(), False, found[1]) if found else None

    return _settled(uri, put, read_back)


def create_file_once(uri: str, path: Path) -> str:
    """Writes a file as an object if there is none, in parts where it is big; sha256 of the stored object."""
    if path.stat().st_size <= PART_BYTES:
        return create_once(uri, path.read_bytes()).digest
    bucket, key = split_uri(uri)

    def put() -> str:
        digest = hashlib.sha256()
        with translated(uri):
            upload = s3().create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
            parts: list[dict[str, str | int]] = []
            with path.open("rb") as file:
                while data := file.read(PART_BYTES):
                    digest.update(data)
                    part = s3().upload_part(
                        Bucket=bucket, Key=key, UploadId=upload, PartNumber=len(parts) + 1, Body=data
                    )
                    parts.append({"ETag": part["ETag"], "PartNumber": len(parts) + 1})
            s3().complete_multipart_upload(
                Bucket=bucket,
                Key=key,
                UploadId=upload,
                MultipartUpload={"Parts": parts},
                IfNoneMatch="*",
            )
        return digest.hexdigest()

    return _settled(uri, put, lambda: _digest(uri))


def swap(uri: str, etag: str, data: bytes) -> str | None:
    """Replaces the object whose ETag is `etag`: the new ETag, or None if another writer was first.

    `data` must hold a fresh nonce: that is how a write whose answer was lost is known again.
    """
    bucket, key = split_uri(uri)

    def put() -> str | None:
        with translated(uri):
            stored = s3().put_object(Bucket=bucket, Key=key, Body=data, IfMatch=f'"{etag}"')["ETag"].strip('"')
        count(written=len(data))
        return stored

    for attempt in range(WRITE_ATTEMPTS):
        try:
            return put()
        except StorageError as error:
            if error.kind is StorageErrorKind.access_denied:
                raise
            found = _read(uri)
            if found and found[1] == data:
                return found[0]
            if not found or found[0] != etag:
                return None
            if attempt == WRITE_ATTEMPTS - 1:
                raise
            time.sleep(0.05 * 2**attempt)
    raise AssertionError("unreachable")


def delete(uri: str) -> None:
    """Removes an object; nothing happens when there is none."""
    bucket, key = split_uri(uri)
    with translated(uri):
        s3().delete_object(Bucket=bucket, Key=key)


def delete_prefix(uri: str) -> int:
    """Removes every object under a prefix; how many there were."""
    bucket, prefix = split_uri(uri)
    if not prefix:
        raise UserError(f"{uri} is a whole bucket", "Name a prefix to delete")
    keys = [item.key for item in list_objects(uri)]
    delete_keys(bucket, keys)
    return len(keys)


def delete_keys(bucket: str, keys: Sequence[str]) -> None:
    """Removes objects of a bucket; those that are gone already don't matter."""
    for first in range(0, len(keys), DELETED_AT_ONCE):
        batch = [{"Key": key} for key in keys[first : first + DELETED_AT_ONCE]]
        uri = f"s3://{bucket}/{batch[0]['Key']}"
        with translated(uri):
            answer = s3().delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True})
        if answer.get("Errors"):
            raise StorageError(StorageErrorKind.storage, uri, f"{len(answer['Errors'])} objects were not deleted")


def presign(uri: str, seconds: int) -> str:
    """A URL that reads the object without credentials for so many seconds."""
    bucket, key = split_uri(uri)
    with translated(uri):
        return s3().generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=seconds)


def _settled(uri: str, put: Callable[[], T], read_back: Callable[[], T | None]) -> T:
    """A write whose refusal or lost answer is settled by what is stored; tried again while nothing is."""
    for attempt in range(WRITE_ATTEMPTS):
        try:
            return put()
        except StorageError as error:
            if error.kind is StorageErrorKind.access_denied or error.message == "NoSuchBucket":
                raise
            stored = read_back()
            if stored is not None:
                return stored
            if attempt == WRITE_ATTEMPTS - 1:
                raise
            time.sleep(0.05 * 2**attempt)
    raise AssertionError("unreachable")


def _read(uri: str) -> tuple[str, bytes] | None:
    try:
        return read_object(uri, *split_uri(uri), b"".join)
    except StorageError as error:
        if error.kind is StorageErrorKind.not_found and error.message != "NoSuchBucket":
            return None
        raise


def _digest(uri: str) -> str | None:
    """sha256 of a stored object, streamed."""
    try:
        return read_object(uri, *split_uri(uri), _sha256)[1]
    except StorageError as error:
        if error.kind is StorageErrorKind.not_found and error.message != "NoSuchBucket":
            return None
        raise


def _sha256(pieces: Iterator[bytes], also: Callable[[bytes], object] | None = None) -> str:
    """The digest of pieces, each of which is also given to `also`."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
        if also:
            also(piece)
    return digest.hexdigest()
