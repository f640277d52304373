"""API keys: only their SHA-256 is kept, in the bucket, so that every ingress replica knows them.

python -m serving.keys s3://reelworks/serving NAME      prints a new key, once
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import sys
import threading
import time

from reelworks import storage
from reelworks.errors import StorageError, StorageErrorKind

_TOKEN = re.compile(r"rw-([0-9a-f]{12})-[0-9a-f]{48}")
KNOWN_FOR_S = 30.0  # a revoked key is refused after this


def create_key(root: str, name: str) -> str:
    """A new API key for a named user; the caller sees it this once."""
    key_id, secret = secrets.token_hex(6), secrets.token_hex(24)
    token = f"rw-{key_id}-{secret}"
    entry = {"name": name, "digest": _digest(token), "created_at": int(time.time())}
    storage.create_once(f"{root.rstrip('/')}/keys/{key_id}", json.dumps(entry).encode())
    return token


def revoke_key(root: str, key_id: str) -> None:
    """Refuses a key from now on (within KNOWN_FOR_S); its jobs stay."""
    storage.delete(f"{root.rstrip('/')}/keys/{key_id}")


class KeyRing:
    """The keys of one endpoint."""

    def __init__(self, root: str):
        self._root = root.rstrip("/")
        self._known: dict[str, tuple[str, float]] = {}  # key id -> (digest, when read)
        self._lock = threading.Lock()

    def owner(self, token: str) -> str | None:
        """The key id of a valid key; None for any other text."""
        match = _TOKEN.fullmatch(token)
        if match is None:
            return None
        key_id = match.group(1)
        digest = self._stored_digest(key_id)
        return key_id if digest is not None and hmac.compare_digest(digest, _digest(token)) else None

    def _stored_digest(self, key_id: str) -> str | None:
        with self._lock:
            known = self._known.get(key_id)
        if known is not None and time.monotonic() - known[1] < KNOWN_FOR_S:
            return known[0]
        try:
            digest = json.loads(storage.get_bytes(f"{self._root}/keys/{key_id}"))["digest"]
        except StorageError as error:
            if error.kind is not StorageErrorKind.not_found:
                raise
            with self._lock:
                self._known.pop(key_id, None)
            return None
        with self._lock:
            self._known[key_id] = (digest, time.monotonic())
        return digest


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


if __name__ == "__main__":
    print(create_key(sys.argv[1], sys.argv[2]))
