"""Whether a bucket is there, ours to use, and keeps the promises that the platform is built on."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable

from reelworks.errors import StorageError, StorageErrorKind, UserError
from reelworks.storage.client import s3, translated
from reelworks.storage.objects import create_once, delete, get_bytes, list_objects, split_uri


def check_readable(uri: str) -> None:
    """An input prefix: the bucket exists and can be listed with these credentials. UserError otherwise."""
    try:
        next(list_objects(uri), None)
    except StorageError as error:
        raise _explained(uri, error) from error


def check_bucket(uri: str) -> None:
    """An output prefix: readable, writable, and conditions on writes and ranged reads are obeyed.

    Leaves nothing behind. Raises UserError: missing bucket, wrong credentials, unreachable, conditions ignored.
    """
    bucket, prefix = split_uri(uri)
    check_readable(uri)
    probe = f"s3://{bucket}/{prefix.rstrip('/') + '/' if prefix else ''}.check/{uuid.uuid4().hex}"
    try:
        first = create_once(probe, b"first")
        refusals = {
            "a second create-once (If-None-Match)": lambda: _put(probe, IfNoneMatch="*"),
            "a write with a stale If-Match": lambda: _put(probe, IfMatch='"00000000000000000000000000000000"'),
            "a ranged read with a stale If-Match": lambda: get_bytes(probe, start=0, length=1, etag="0" * 32),
        }
        for what, attempt in refusals.items():
            if not _refused(attempt):
                raise UserError(
                    f"The store of {bucket} ignores conditions: {what} was accepted",
                    "Use a store with conditional requests (AWS S3, SeaweedFS, MinIO, R2, GCS's S3 API)",
                )
        if first.data != b"first":
            raise UserError(f"The store of {bucket} returned other bytes than were written")
    except StorageError as error:
        raise _explained(uri, error) from error
    finally:
        _forget(probe)


def _put(uri: str, **condition: str) -> None:
    bucket, key = split_uri(uri)
    with translated(uri):
        s3().put_object(Bucket=bucket, Key=key, Body=b"second", **condition)


def _refused(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except StorageError as error:
        if error.kind is not StorageErrorKind.changed:
            raise
        return True
    return False


def _forget(uri: str) -> None:
    try:
        delete(uri)
    except StorageError:
        pass  # the check's own error, on its way up, says more; an orphan of five bytes harms nobody


def _explained(uri: str, error: StorageError) -> UserError:
    bucket = split_uri(uri)[0]
    where = os.environ.get("AWS_ENDPOINT_URL", "AWS S3")
    if error.kind is StorageErrorKind.not_found:
        return UserError(f"There is no bucket {bucket!r} at {where}", "Create it, or name another in the recipe")
    if error.kind is StorageErrorKind.access_denied:
        return UserError(
            f"{where} refuses these credentials for bucket {bucket!r} ({error.message})",
            "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; on the local stack: `make up`, then .stack/env",
        )
    return UserError(f"Can't use bucket {bucket!r} at {where}: {error.message}", "Set AWS_ENDPOINT_URL; is it running?")
