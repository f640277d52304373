"""The OpenAI Videos API over an endpoint's jobs: routes, API keys, errors in OpenAI's shape."""

import logging
import secrets
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reelworks.errors import StorageError
from serving.body import read_values
from serving.content import content_response
from serving.endpoint import Endpoint
from serving.errors import ApiError, invalid
from serving.record import JobRecord
from serving.shapes import error_body, video_deleted, video_list, video_object

logger = logging.getLogger(__name__)

RETRY_AFTER_S = {429: 5, 503: 2}


def make_api(endpoint: Endpoint, max_body_bytes: int, poll_after_ms: int) -> FastAPI:
    """The application; every route but /healthz needs a key, which is checked before the body is read."""
    app = FastAPI(title="Reelworks", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Envelope)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(StorageError, _storage_error)

    def key_id(request: Request) -> str:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        owner = endpoint.keys.owner(token.strip()) if scheme.lower() == "bearer" else None
        if owner is None:
            raise ApiError(401, "No valid API key: send 'Authorization: Bearer KEY'.", code="invalid_api_key")
        return owner

    key = Annotated[str, Depends(key_id)]

    def answer(record: JobRecord) -> JSONResponse:
        headers = {} if record.done else {"openai-poll-after-ms": str(poll_after_ms)}
        return JSONResponse(video_object(record), headers=headers)

    async def create(request: Request, owner: key) -> Response:
        values = await read_values(request, max_body_bytes)
        idempotency_key = request.headers.get("idempotency-key")
        is_retry = request.headers.get("x-stainless-retry-count", "0") not in ("", "0")
        return answer(await run_in_threadpool(endpoint.create, owner, values, idempotency_key, is_retry))

    def page(request: Request, owner: key) -> Response:
        query = request.query_params
        records, has_more = endpoint.page(owner, query.get("after"), query.get("limit"), query.get("order"))
        return JSONResponse(video_list(records, has_more))

    def retrieve(video_id: str, owner: key) -> Response:
        return answer(endpoint.find(owner, video_id))

    def delete(video_id: str, owner: key) -> Response:
        endpoint.delete(owner, video_id)
        return JSONResponse(video_deleted(video_id))

    def content(video_id: str, request: Request, owner: key) -> Response:
        variant = request.query_params.get("variant", "video")
        if variant != "video":
            raise invalid("variant", f"Only the variant 'video' is offered, not {variant[:40]!r}.", "unsupported")
        return content_response(request, endpoint.find(owner, video_id))

    def healthz() -> Response:
        served = endpoint.served()
        if served is None:
            return JSONResponse({"status": "starting", "model": None}, 503)
        return JSONResponse(
            {
                "status": "ok",
                "model": served.dit.model_dump(),
                "expander": served.expander.model_dump() if served.expander else None,
                "limits": asdict(served.limits),
                "defaults": asdict(served.defaults),
            }
        )

    app.add_api_route("/v1/videos", create, methods=["POST"])
    app.add_api_route("/v1/videos", page, methods=["GET"])
    app.add_api_route("/v1/videos/{video_id}", retrieve, methods=["GET"])
    app.add_api_route("/v1/videos/{video_id}", delete, methods=["DELETE"])
    app.add_api_route("/v1/videos/{video_id}/content", content, methods=["GET", "HEAD"])
    app.add_api_route("/healthz", healthz, methods=["GET"])
    return app


class Envelope:
    """Gives every answer an x-request-id, and an exception that nobody expected OpenAI's shape."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id, started = f"req_{secrets.token_hex(16)}", False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except Exception:
            logger.exception("%s %s %s", request_id, scope["method"], scope["path"])
            if started:
                raise
            error = ApiError(500, f"Something went wrong; the request's id is {request_id}.", code="internal_error")
            await _error_response(error)(scope, receive, send_with_id)


def _error_response(error: ApiError) -> JSONResponse:
    wait_s = RETRY_AFTER_S.get(error.status)
    headers = {"retry-after": str(wait_s)} if wait_s else {}
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(error_body(error), error.status, headers)


def _api_error(request: Request, error: Any) -> Response:
    return _error_response(error)


def _http_error(request: Request, error: Any) -> Response:
    message = f"{request.method} {request.url.path}: {error.detail}."
    answer = _error_response(ApiError(error.status_code, message, code="unknown_url"))
    answer.headers.update(error.headers or {})
    return answer


def _storage_error(request: Request, error: Any) -> Response:
    logger.error("%s %s: %s", request.method, request.url.path, error)
    return _error_response(ApiError(503, "The bucket did not answer; try again.", code="storage_unavailable"))
