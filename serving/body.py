"""The body of a create request, read within bounds."""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request

from serving.errors import ApiError, invalid
from serving.fields import form_values

MAX_FIELDS = 64
MAX_FILES = 4
MAX_FIELD_BYTES = 256 * 1024  # a prompt of 32,000 characters takes at most half of it


async def read_values(request: Request, max_bytes: int) -> Any:
    """The fields of a JSON or form body. Raises ApiError 400 or 413."""
    body = await _bounded(request, max_bytes)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise invalid(None, f"The body is not valid JSON: {error}") from error
    if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        return await _form(request, body)
    message = f"Send multipart/form-data or application/json, not {kind or 'a body without a Content-Type'!r}."
    raise ApiError(415, message, code="unsupported_media_type")


async def _bounded(request: Request, max_bytes: int) -> bytes:
    too_large = ApiError(413, f"The body exceeds {max_bytes} bytes.", code="request_too_large")
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise too_large
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > max_bytes:
            raise too_large
        pieces.append(piece)
    return b"".join(pieces)


async def _form(request: Request, body: bytes) -> dict[str, Any]:
    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    again = Request(request.scope, receive)
    try:
        async with again.form(max_files=MAX_FILES, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES) as form:
            return form_values(form.multi_items())
    except HTTPException as error:
        raise invalid(None, f"The form can't be read: {error.detail}") from error
    except (UnicodeDecodeError, LookupError) as error:  # text that is not what its charset says
        raise invalid(None, f"The form can't be decoded: {error}") from error
