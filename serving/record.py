"""The record of one video job and its transitions: values in, values out.

Every transition carries a fresh nonce, because equal bytes have equal ETags and a compare-and-set
could not tell its own write from another's.
"""

from __future__ import annotations

import secrets
from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Status(StrEnum):
    """Life of a job; the first four are the API's, a deleted job answers 404."""

    queued = "queued"
    in_progress = "in_progress"
    completed = "completed"
    failed = "failed"
    deleted = "deleted"


class Part(BaseModel):
    """A frozen part of a record; a newer writer's additional keys don't break an older reader."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())


class Asked(Part):
    """What is to be made: every field is settled when the job is created, so a retry makes the same video."""

    prompt: str
    width: int
    height: int
    seconds: float
    fps: float
    seed: int
    steps: int
    guidance: float


class ModelPin(Part):
    """The model version that a job was accepted for."""

    name: str
    version: int | None
    digest: str
    uri: str

    @property
    def source(self) -> str:
        """The model source that a worker opens: refused if the files aren't those of the digest."""
        return f"{self.uri}#{self.digest}" if self.digest else self.uri


class JobError(Part):
    """Why a job failed, in the API's words."""

    code: str
    message: str


class Output(Part):
    """The finished video: an object that only this record makes visible."""

    uri: str
    digest: str
    size_bytes: int


class JobRecord(Part):
    """One job; stored as JSON and changed only by compare-and-set.

    `digest` is of the fields as the client gave them, `idempotency` names the object of its Idempotency-Key,
    `cost` is tokens x steps; `losses` counts the workers that vanished or broke, not those that were stopped.
    """

    id: str
    key_id: str
    nonce: str
    status: Status
    created_at: int
    asked: Asked
    model: ModelPin
    expander: ModelPin | None = None
    cost: int
    digest: str
    idempotency: str | None = None
    attempt: int = 0
    losses: int = 0
    owner: str | None = None
    lease_s: float = 0.0
    progress: int = 0
    completed_at: int | None = None
    revised_prompt: str | None = None
    error: JobError | None = None
    output: Output | None = None

    @property
    def done(self) -> bool:
        """Whether no worker has anything left to do."""
        return self.status in (Status.completed, Status.failed, Status.deleted)

    def to_bytes(self) -> bytes:
        """The stored form."""
        return self.model_dump_json().encode()


def from_bytes(data: bytes) -> JobRecord:
    """The record in an object's bytes."""
    return JobRecord.model_validate_json(data)


def fresh_nonce() -> str:
    """A value that no other write carries."""
    return secrets.token_hex(8)


def claimed(record: JobRecord, owner: str, lease_s: float) -> JobRecord:
    """Taken by a worker, whoever had it: the next attempt."""
    return _changed(
        record,
        status=Status.in_progress,
        attempt=record.attempt + 1,
        losses=record.losses + (record.owner is not None),
        owner=owner,
        lease_s=lease_s,
        progress=0,
    )


def renewed(record: JobRecord, progress: int, revised_prompt: str | None) -> JobRecord:
    """Still held by its owner; progress is in percent and never goes back within an attempt."""
    return _changed(record, progress=max(record.progress, min(progress, 99)), revised_prompt=revised_prompt)


def released(record: JobRecord, is_loss: bool) -> JobRecord:
    """Given back to the queue by a worker that stops, or that broke on it (a loss)."""
    return _changed(record, status=Status.queued, owner=None, progress=0, losses=record.losses + is_loss)


def completed(record: JobRecord, output: Output, revised_prompt: str | None, now_s: int) -> JobRecord:
    """Finished: the output becomes visible."""
    return _changed(
        record,
        status=Status.completed,
        owner=None,
        progress=100,
        completed_at=now_s,
        output=output,
        revised_prompt=revised_prompt,
    )


def failed(record: JobRecord, error: JobError, now_s: int) -> JobRecord:
    """Ended without a video."""
    return _changed(record, status=Status.failed, owner=None, completed_at=now_s, error=error)


def tombstone(record: JobRecord) -> JobRecord:
    """Deleted: what the user wrote is erased, the output is out of reach."""
    asked = record.asked.model_copy(update={"prompt": ""})
    return _changed(record, status=Status.deleted, asked=asked, revised_prompt=None, output=None, error=None)


def _changed(record: JobRecord, **fields: object) -> JobRecord:
    return record.model_copy(update={**fields, "nonce": fresh_nonce()})
