"""Errors that leave the endpoint, in OpenAI's shape."""

from __future__ import annotations


class ApiError(Exception):
    """An answer other than 2xx: HTTP status, and the four fields of OpenAI's error object."""

    def __init__(self, status: int, message: str, *, code: str | None = None, param: str | None = None):
        super().__init__(status, message, code, param)
        self.status = status
        self.message = message
        self.code = code
        self.param = param


ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}


def error_type(status: int) -> str:
    """OpenAI's error type of an HTTP status."""
    return ERROR_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")


def invalid(param: str | None, message: str, code: str | None = None) -> ApiError:
    """A request that can't be served as it stands (400)."""
    return ApiError(400, message, code=code, param=param)


def not_found(job_id: str) -> ApiError:
    """No such job under this API key (404): another key's job looks the same."""
    return ApiError(404, f"No video with id {job_id!r} was found.", code="video_not_found", param="video_id")
