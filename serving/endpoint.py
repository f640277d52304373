"""What one ingress replica does for an API key: create, find, list and delete jobs. No HTTP, no Ray."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from serving.errors import ApiError, invalid, not_found
from serving.fields import CreateFields, cost, parse_create, settle
from serving.ids import RANDOM_BITS, is_video_id, video_id
from serving.keys import KeyRing
from serving.record import Asked, JobRecord, Status, fresh_nonce
from serving.served import Served
from serving.store import IdempotencyConflict, Store

MAX_PAGE = 100
DEFAULT_PAGE = 20
# The SDK repeats a create whose answer was lost within seconds; an equal create after this is a new wish.
TWIN_WINDOW_S = 120
MAX_IDEMPOTENCY_CHARS = 255
RANDOM_SEED_BITS = 31


@dataclass(frozen=True)
class Endpoint:
    """The jobs of every API key, as any replica sees them."""

    store: Store
    keys: KeyRing
    served: Callable[[], Served | None]
    max_pending_per_key: int

    def create(self, key_id: str, values: Any, idempotency_key: str | None, is_retry: bool) -> JobRecord:
        """A new job, or the one that an earlier try made. Raises ApiError."""
        fields = parse_create(values)
        served = self.model(fields.model)
        record = _record(key_id, fields, served)
        if idempotency_key is not None and not 0 < len(idempotency_key) <= MAX_IDEMPOTENCY_CHARS:
            raise invalid("Idempotency-Key", f"Idempotency-Key must have 1 to {MAX_IDEMPOTENCY_CHARS} characters.")
        if idempotency_key is None and is_retry:
            twin = self.store.recent_twin(key_id, fields.digest, record.created_at - TWIN_WINDOW_S)
            if twin is not None:
                return twin
        self._admit(key_id)
        try:
            stored = self.store.create(record, idempotency_key)
        except IdempotencyConflict:
            message = "This Idempotency-Key was used with other fields. Use a new key for another video."
            raise invalid("Idempotency-Key", message, "idempotency_conflict") from None
        if stored.status is Status.deleted:
            raise not_found(stored.id)
        return stored

    def find(self, key_id: str, job_id: str) -> JobRecord:
        """A job of this key. Raises ApiError 404."""
        found = self.store.load(key_id, job_id) if is_video_id(job_id) else None
        if found is None or found.record.status is Status.deleted:
            raise not_found(job_id)
        return found.record

    def delete(self, key_id: str, job_id: str) -> None:
        """Deletes a job of this key, wherever it stands. Raises ApiError 404."""
        if not is_video_id(job_id) or not self.store.delete(key_id, job_id):
            raise not_found(job_id)

    def page(
        self, key_id: str, after: str | None, limit: str | None, order: str | None
    ) -> tuple[list[JobRecord], bool]:
        """One page of this key's jobs, from query parameters as they came. Raises ApiError 400."""
        if after is not None and not is_video_id(after):
            raise invalid("after", f"'after' must be the id of a video, not {after[:40]!r}.")
        if order not in (None, "asc", "desc"):
            raise invalid("order", f"'order' must be 'asc' or 'desc', not {order[:40]!r}.")
        if limit is not None and not (limit.isascii() and limit.isdecimal() and int(limit[:6]) <= MAX_PAGE):
            raise invalid("limit", f"'limit' must be a whole number from 0 to {MAX_PAGE}, not {limit[:40]!r}.")
        size = DEFAULT_PAGE if limit is None else int(limit[:6])
        return self.store.page(key_id, after=after, limit=size, descending=order != "asc")

    def model(self, name: str | None) -> Served:
        """What is served, if it is what was asked for. Raises ApiError 503 before the registry has answered."""
        served = self.served()
        if served is None:
            raise ApiError(503, "No model has been resolved yet; try again shortly.", code="model_not_ready")
        if name not in (None, served.dit.name):
            message = f"The model {name[:80]!r} is not served here; {served.dit.name!r} is."
            raise invalid("model", message, "model_not_found")
        return served

    def _admit(self, key_id: str) -> None:
        """Refuses more waiting jobs of one key than the quota: an unbounded queue only hides an overload."""
        limit = self.max_pending_per_key
        if sum(1 for _ in islice(self.store.pending(key_id), limit)) >= limit:
            raise ApiError(429, f"This API key has {limit} unfinished videos, the most allowed.", code="queue_full")


def _record(key_id: str, fields: CreateFields, served: Served) -> JobRecord:
    request = settle(fields, served.defaults, served.limits, served.strides, secrets.randbits(RANDOM_SEED_BITS))
    now_ms = int(time.time() * 1000)
    return JobRecord(
        id=video_id(now_ms, secrets.randbits(RANDOM_BITS)),
        key_id=key_id,
        nonce=fresh_nonce(),
        status=Status.queued,
        created_at=now_ms // 1000,
        asked=Asked(**vars(request)),
        model=served.dit,
        expander=served.expander,
        cost=cost(request, served.strides),
        digest=fields.digest,
    )
