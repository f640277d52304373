"""How the bytes of an object arrive: not slower than a limit, and from the start again where the line breaks off."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from reelworks.errors import StorageError, StorageErrorKind
from reelworks.storage.client import s3, translated
from reelworks.storage.pace import TooSlow, paced
from reelworks.storage.traffic import count

# botocore asks again where an answer doesn't begin; what happens to its body is ours.
READ_ATTEMPTS = 3

T = TypeVar("T")
log = logging.getLogger(__name__)


def read_object(uri: str, bucket: str, key: str, take: Callable[[Iterator[bytes]], T], **request: str) -> tuple[str, T]:
    """(ETag, what `take` makes of the pieces of the body); `take` is called again where an attempt breaks off.

    `request` goes to GetObject. Raises StorageError: `storage` at the latest when READ_ATTEMPTS bodies broke off, each
    after a silence of client.READ_S or as soon as it is too slow; other kinds at once.
    """
    for attempt in range(READ_ATTEMPTS):
        with translated(uri):
            answer = s3().get_object(Bucket=bucket, Key=key, **request)
        try:
            return answer["ETag"].strip('"'), take(_pieces(uri, answer))
        except StorageError as error:
            if attempt == READ_ATTEMPTS - 1:
                raise
            log.warning("%s; attempt %d of %d", error, attempt + 2, READ_ATTEMPTS)
            time.sleep(0.1 * 2**attempt)
    raise AssertionError("unreachable")


def _pieces(uri: str, answer: dict[str, Any]) -> Iterator[bytes]:
    """The body as it comes. Raises StorageError where it ends early, pauses too long, or is too slow."""
    from urllib3.exceptions import HTTPError

    # botocore's own body has no read that returns what is there: a large one would wait for a slow server for hours.
    stream, length, came = answer["Body"]._raw_stream, answer["ContentLength"], 0
    try:
        for piece in paced(stream, length):
            came += len(piece)
            count(read=len(piece))
            yield piece
    except TooSlow as error:
        raise _broken(uri, came, length, str(error)) from error
    except HTTPError as error:
        raise _broken(uri, came, length, type(error).__name__) from error
    finally:
        answer["Body"].close()  # a whole body has given its connection back already
    if came != length:
        raise _broken(uri, came, length, "it ended early")


def _broken(uri: str, came: int, length: int, why: str) -> StorageError:
    return StorageError(StorageErrorKind.storage, uri, f"its body broke off after {came} of {length} bytes: {why}")
