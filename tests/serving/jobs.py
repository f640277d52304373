"""Records for the tests of the endpoint."""

from __future__ import annotations

import secrets
import time

from serving.ids import video_id
from serving.record import Asked, JobRecord, ModelPin, Status, fresh_nonce

PIN = ModelPin(name="shapeworld-dit", version=3, digest="d" * 64, uri="s3://reelworks/checkpoints/shapeworld-dit/run")


def job(
    key_id: str = "key", *, created_ms: int | None = None, prompt: str = "a red circle", **fields: object
) -> JobRecord:
    """A queued job."""
    now_ms = int(time.time() * 1000) if created_ms is None else created_ms
    asked = Asked(prompt=prompt, width=48, height=32, seconds=1.5, fps=8, seed=7, steps=4, guidance=3.0)
    record = JobRecord(
        id=video_id(now_ms, secrets.randbits(80)),
        key_id=key_id,
        nonce=fresh_nonce(),
        status=Status.queued,
        created_at=now_ms // 1000,
        asked=asked,
        model=PIN,
        cost=96,
        digest="f" * 64,
    )
    return record.model_copy(update=fields)
