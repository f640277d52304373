"""The one boto3 client of a process, and what its exceptions mean."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from reelworks.errors import StorageError, StorageErrorKind
from reelworks.storage.pace import sender

# Seconds without a connection, and without a byte of an answer, after which a request is tried again; so often at most.
CONNECT_S, READ_S, ATTEMPTS = 5.0, 60.0, 5

_lock = threading.Lock()
_clients: dict[tuple[int, str | None, str | None], Any] = {}

_KINDS = {
    **dict.fromkeys(("PreconditionFailed", "412"), StorageErrorKind.changed),
    **dict.fromkeys(("NoSuchKey", "NoSuchBucket", "NotFound", "404"), StorageErrorKind.not_found),
    **dict.fromkeys(
        ("AccessDenied", "Forbidden", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "NoCredentials"),
        StorageErrorKind.access_denied,
    ),
}


def s3() -> Any:
    """The client of this process, made at first use (a forked child makes its own)."""
    key = (os.getpid(), os.environ.get("AWS_ENDPOINT_URL"), os.environ.get("AWS_ACCESS_KEY_ID"))
    with _lock:
        if key not in _clients:
            import boto3  # 0.3 s: not paid by processes that touch no bucket
            from botocore.config import Config

            config = Config(
                retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
                max_pool_connections=32,
                connect_timeout=CONNECT_S,
                read_timeout=READ_S,
                # Buckets as subdomains need a wildcard DNS that self-hosted servers don't have.
                s3={"addressing_style": "path"} if key[1] else None,
                # Not every S3-compatible server knows the checksum trailers that boto3 sends by default.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            )
            client = boto3.session.Session().client("s3", config=config)
            client.meta.events.register("before-send.s3", sender(client._endpoint.http_session))
            _clients[key] = client
        return _clients[key]


@contextmanager
def translated(uri: str) -> Iterator[None]:
    """Turns botocore's exceptions into StorageError with its kind."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        status = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
        kind = _KINDS.get(code) or _KINDS.get(status) or StorageErrorKind.storage
        raise StorageError(kind, uri, code or status) from error
    except NoCredentialsError as error:
        raise StorageError(StorageErrorKind.access_denied, uri, "NoCredentials") from error
    except BotoCoreError as error:
        raise StorageError(StorageErrorKind.storage, uri, str(error)) from error
