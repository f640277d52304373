"""How slowly an answer may come: a server that sends a byte a second never runs into a time-out of the socket."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

# After this long, an answer must have come at this rate in the mean: a thousandth of a slow line, and a dripping server
# costs a minute in all attempts.
GRACE_S = 20.0
SLOWEST_BYTES_S = 32 * 2**10
PIECE_BYTES = 256 * 2**10


# A store that puts an object's parts together sends a blank now and then, until it is done.
SLOW_BY_NATURE = (".CompleteMultipartUpload", ".CopyObject", ".UploadPartCopy")


class TooSlow(Exception):
    """An answer came slower than that."""


def paced(stream: Any, length: int | None) -> Iterator[bytes]:
    """A body of urllib3 as it comes, of `length` bytes where that is known. Raises TooSlow, urllib3's HTTPError."""
    begun_s, came = 0.0, 0
    while piece := stream.read1(PIECE_BYTES):
        begun_s = begun_s or time.monotonic()  # until then the server thinks
        came += len(piece)
        yield piece
        due = SLOWEST_BYTES_S * (time.monotonic() - begun_s - GRACE_S)
        if came < (due if length is None else min(length, due)):
            raise TooSlow(f"slower than {SLOWEST_BYTES_S} bytes a second")


def sender(session: Any) -> Callable[..., Any]:
    """A handler of botocore's event before-send that sends the request itself, and takes the answer at its pace.

    botocore reads what isn't the body of an object (listings, errors) by itself, for as long as bytes come. An answer
    that is too slow or breaks off is raised as one of botocore's own errors, so it is asked for again as those are.
    """

    def send(request: Any, event_name: str, **event: object) -> Any:
        if event_name.endswith(SLOW_BY_NATURE):
            return None  # then botocore sends it
        streamed, request.stream_output = request.stream_output, True
        answer = session.send(request)
        if not streamed or answer.status_code >= 300:
            answer._content = _whole(request, answer)  # where botocore would put it
        return answer

    return send


def _whole(request: Any, answer: Any) -> bytes:
    from botocore.exceptions import ConnectionClosedError, ReadTimeoutError
    from urllib3.exceptions import HTTPError

    has_body = request.method != "HEAD" and "Content-Length" in answer.headers
    length = int(answer.headers["Content-Length"]) if has_body else None
    try:
        content = b"".join(paced(answer.raw, length))
        if length is not None and len(content) != length:
            raise ConnectionClosedError(endpoint_url=request.url)
    except (TooSlow, HTTPError) as error:
        raise ReadTimeoutError(endpoint_url=request.url, error=error) from error
    finally:
        answer.raw.close()  # a whole body has given its connection back already
    return content
