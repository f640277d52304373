"""The OpenAI Videos API over an endpoint's jobs: routes, API keys, errors in OpenAI's shape."""

import logging
import secrets
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
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
    routes = Routes(endpoint, max_body_bytes, poll_after_ms)
    videos = APIRouter(prefix="/v1/videos", dependencies=[Depends(routes.authenticate)])
    videos.add_api_route("", routes.create, methods=["POST"])
    videos.add_api_route("", routes.page, methods=["GET"])
    videos.add_api_route("/{video_id}", routes.retrieve, methods=["GET"])
    videos.add_api_route("/{video_id}", routes.delete, methods=["DELETE"])
    videos.add_api_route("/{video_id}/content", routes.content, methods=["GET", "HEAD"])
    app.include_router(videos)
    app.add_api_route("/healthz", routes.healthz, methods=["GET"])
    return app


class Routes:
    """HTTP in, HTTP out; the functions that aren't async run in threads, where they may wait for the bucket."""

    def __init__(self, endpoint: Endpoint, max_body_bytes: int, poll_after_ms: int):
        self.endpoint = endpoint
        self.max_body_bytes = max_body_bytes
        self.poll_after_ms = poll_after_ms

    def authenticate(self, request: Request) -> None:
        """Finds whose key it is; every route below reads it from the request's state."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        key_id = self.endpoint.keys.owner(token.strip()) if scheme.lower() == "bearer" else None
        if key_id is None:
            raise ApiError(401, "No valid API key: send 'Authorization: Bearer KEY'.", code="invalid_api_key")
        request.state.key_id = key_id

    async def create(self, request: Request) -> Response:
        """POST /v1/videos"""
        values = await read_values(request, self.max_body_bytes)
        idempotency_key = request.headers.get("idempotency-key")
        is_retry = request.headers.get("x-stainless-retry-count", "0") not in ("", "0")
        key_id = request.state.key_id
        return self._video(await run_in_threadpool(self.endpoint.create, key_id, values, idempotency_key, is_retry))

    def page(self, request: Request) -> Response:
        """GET /v1/videos"""
        query = request.query_params
        after, limit, order = query.get("after"), query.get("limit"), query.get("order")
        return JSONResponse(video_list(*self.endpoint.page(request.state.key_id, after, limit, order)))

    def retrieve(self, video_id: str, request: Request) -> Response:
        """GET /v1/videos/{id}"""
        return self._video(self.endpoint.find(request.state.key_id, video_id))

    def delete(self, video_id: str, request: Request) -> Response:
        """DELETE /v1/videos/{id}"""
        self.endpoint.delete(request.state.key_id, video_id)
        return JSONResponse(video_deleted(video_id))

    def content(self, video_id: str, request: Request) -> Response:
        """GET /v1/videos/{id}/content"""
        variant = request.query_params.get("variant", "video")
        if variant != "video":
            raise invalid("variant", f"Only the variant 'video' is offered, not {variant[:40]!r}.", "unsupported")
        return content_response(request, self.endpoint.find(request.state.key_id, video_id))

    def healthz(self) -> Response:
        """GET /healthz: what is served; 503 until the registry has answered."""
        served = self.endpoint.served()
        if served is None:
            return JSONResponse({"status": "starting", "model": None}, 503)
        body = {
            "status": "ok",
            "model": served.dit.model_dump(),
            "expander": served.expander.model_dump() if served.expander else None,
            "limits": asdict(served.limits),
            "defaults": asdict(served.defaults),
        }
        return JSONResponse(body)

    def _video(self, record: JobRecord) -> Response:
        headers = {} if record.done else {"openai-poll-after-ms": str(self.poll_after_ms)}
        return JSONResponse(video_object(record), headers=headers)


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
