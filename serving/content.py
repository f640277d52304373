"""A finished video as an HTTP answer: whole, in ranges, or not at all where the client has it."""

from __future__ import annotations

from collections.abc import Iterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from reelworks import storage
from serving.errors import ApiError
from serving.ranges import UnsatisfiableRange, byte_range
from serving.record import JobRecord, Output, Status

PIECE_BYTES = 2**20  # one ranged GET; bounds an ingress replica's memory for each download


def content_response(request: Request, record: JobRecord) -> Response:
    """200, 206, 304 or 416 of a completed job's MP4. ApiError 404 before that: the SDK doesn't retry it."""
    if record.status is not Status.completed or record.output is None:
        why = "failed, so it has no content" if record.status is Status.failed else "is not ready yet"
        raise ApiError(404, f"Video {record.id!r} {why}.", code="video_not_ready", param="video_id")
    output = record.output
    headers = {
        "etag": f'"{output.digest}"',
        "accept-ranges": "bytes",
        "content-disposition": f'attachment; filename="{record.id}.mp4"',
    }
    if headers["etag"] in _listed(request.headers.get("if-none-match")):
        return Response(status_code=304, headers=headers)
    try:
        asked = byte_range(_valid_range(request, headers["etag"]), output.size_bytes)
    except UnsatisfiableRange:
        return Response(status_code=416, headers={**headers, "content-range": f"bytes */{output.size_bytes}"})
    start, length = asked or (0, output.size_bytes)
    headers["content-length"] = str(length)
    if asked is not None:
        headers["content-range"] = f"bytes {start}-{start + length - 1}/{output.size_bytes}"
    status = 200 if asked is None else 206
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type="video/mp4")
    return StreamingResponse(_pieces(output, start, length), status, headers, media_type="video/mp4")


def _valid_range(request: Request, etag: str) -> str | None:
    """The Range header, unless If-Range names another representation."""
    condition = request.headers.get("if-range")
    return request.headers.get("range") if condition in (None, etag) else None


def _listed(header: str | None) -> list[str]:
    return [part.strip().removeprefix("W/") for part in (header or "").split(",")]


def _pieces(output: Output, start: int, length: int) -> Iterator[bytes]:
    end = start + length
    while start < end:
        piece = storage.get_bytes(output.uri, start=start, length=min(PIECE_BYTES, end - start))
        yield piece
        start += len(piece)
