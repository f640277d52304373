"""Films at the S3 server, for tests of what reading them costs."""

from __future__ import annotations

from typing import NamedTuple

from reelworks import storage


class Film(NamedTuple):
    """Where a film lies, and as which version of its object."""

    uri: str
    etag: str


def stored(name: str, data: bytes) -> Film:
    """Put a film at the server in place of the one of that name that an earlier test left there."""
    uri = f"s3://raw/costs/{name}"
    storage.delete(uri)
    return Film(uri, storage.create_once(uri, data).etag)
