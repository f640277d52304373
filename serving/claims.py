"""Leases on jobs: a worker claims, renews, publishes; a worker that lost its lease can't harm.

No clocks are compared. An observer takes a job over only after it has seen the same ETag for the record's
`lease_s` on its own monotonic clock; an owner that hasn't renewed for half of `lease_s` renews before it publishes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from enum import StrEnum

from serving.queue import QueueEntry
from serving.record import JobError, JobRecord, claimed, failed, released, renewed
from serving.store import NUM_TRIES, Contended, Store, Versioned

logger = logging.getLogger(__name__)


class Ended(StrEnum):
    """Why a worker no longer works on a job."""

    lost = "lost"
    deleted = "deleted"
    finished = "finished"


class Lease:
    """One held job: what a worker knows of it, and what it has yet to tell."""

    def __init__(self, found: Versioned, began: float):
        self.found = found
        self.began = began
        self.progress = 0
        self.revised_prompt = found.record.revised_prompt
        self.ended: Ended | None = None
        self.lock = threading.Lock()

    @property
    def record(self) -> JobRecord:
        """The record as this worker last wrote or read it."""
        return self.found.record


class Claims:
    """A worker's hold on jobs of a store."""

    def __init__(
        self,
        store: Store,
        owner: str,
        lease_s: float,
        max_losses: int,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.store = store
        self.owner = owner
        self.lease_s = lease_s
        self.max_losses = max_losses
        self.clock = clock
        self._held: dict[str, Lease] = {}
        self._seen: dict[str, tuple[str, float]] = {}  # job id -> (ETag, since when) of jobs that others hold

    def held(self) -> list[Lease]:
        """The leases that haven't ended."""
        return list(self._held.values())

    def take(self, entries: Iterable[QueueEntry], limit: int, fits: Callable[[JobRecord], bool]) -> list[Lease]:
        """Claims up to `limit` jobs that fit, in the order given; entries of finished jobs are dropped."""
        taken: list[Lease] = []
        pending = set()
        for entry in entries:
            pending.add(entry.job_id)
            if len(taken) >= limit or entry.job_id in self._held:
                continue
            lease = self._try(entry, fits)
            if lease is not None:
                taken.append(lease)
        self._seen = {job_id: seen for job_id, seen in self._seen.items() if job_id in pending}
        return taken

    def renew(self, lease: Lease) -> bool:
        """Tells progress and keeps the lease; False once the job is lost or deleted."""
        with lease.lock:
            return self._write(lease, lambda record: renewed(record, lease.progress, lease.revised_prompt))

    def publish(self, lease: Lease, change: Callable[[JobRecord], JobRecord]) -> bool:
        """The terminal swap; False if the job was lost or deleted, then nothing became visible."""
        with lease.lock:
            stale = self.clock() - lease.began > self.lease_s / 2
            if stale and not self._write(lease, lambda record: renewed(record, lease.progress, lease.revised_prompt)):
                return False
            if not self._write(lease, change):
                return False
            self._end(lease, Ended.finished)
        self.store.finish(lease.record)
        return True

    def release(self, lease: Lease, is_loss: bool = False) -> None:
        """Gives a job back to the queue; as a loss where the worker broke on it and wasn't just stopped."""
        with lease.lock:
            if self._write(lease, lambda record: released(record, is_loss)):
                self._end(lease, Ended.lost)

    def drop(self, lease: Lease) -> None:
        """Forgets a job without a word to the bucket; another takes it over when its lease has run out."""
        self._end(lease, Ended.lost)

    def _try(self, entry: QueueEntry, fits: Callable[[JobRecord], bool]) -> Lease | None:
        found = self.store.load(entry.key_id, entry.job_id)
        if found is None:
            return None  # its record comes in a moment, or never: then the entry is the sweeper's
        record = found.record
        if record.done:
            self.store.drop_entry(entry)
            return None
        if record.owner is not None and not self._abandoned(found):
            return None
        if record.losses >= self.max_losses:
            self._give_up(found)
            return None
        if not fits(record):
            return None
        began = self.clock()
        ours = self.store.swap(found, claimed(record, self.owner, self.lease_s))
        if ours is None:
            return None
        lease = self._held[record.id] = Lease(ours, began)
        return lease

    def _abandoned(self, found: Versioned) -> bool:
        etag, since = self._seen.get(found.record.id, ("", 0.0))
        if etag != found.etag:
            self._seen[found.record.id] = (found.etag, self.clock())
            return False
        return self.clock() - since >= found.record.lease_s

    def _give_up(self, found: Versioned) -> None:
        message = f"The job was tried {found.record.losses} times, and its worker was lost each time."
        ended = self.store.swap(found, failed(found.record, JobError(code="worker_lost", message=message), _now_s()))
        if ended is not None:
            logger.error("%s: %s", found.record.id, message)
            self.store.finish(ended.record)

    def _write(self, lease: Lease, change: Callable[[JobRecord], JobRecord]) -> bool:
        if lease.ended is not None:
            return False
        for _ in range(NUM_TRIES):
            began = self.clock()
            ours = self.store.swap(lease.found, change(lease.record))
            if ours is not None:
                lease.found, lease.began = ours, began
                return True
            theirs = self.store.load(lease.record.key_id, lease.record.id)
            same = theirs is not None and _holder(theirs.record) == _holder(lease.record)
            if theirs is None or theirs.record.done or not same:
                deleted = theirs is None or (theirs.record.done and same)
                self._end(lease, Ended.deleted if deleted else Ended.lost)
                return False
            lease.found = theirs  # another's change of a job that is still ours: ours goes on top of it
        raise Contended(lease.record.id)

    def _end(self, lease: Lease, why: Ended) -> None:
        lease.ended = why
        self._held.pop(lease.record.id, None)


def _holder(record: JobRecord) -> tuple[int, str | None]:
    return record.attempt, record.owner


def _now_s() -> int:
    return int(time.time())
