"""The endpoint's part of the bucket: records, queue, idempotency objects, outputs.

Layout below the root:
  records/<key id>/<job id>            the record; the only thing that a client's answer is made from
  queue/<key id>/<job id>~<cost>       pending work
  idempotency/<key id>/<name>          the job that a create with this Idempotency-Key made
  outputs/<job id>/attempt-<n>/        what a worker wrote; visible only through a record
  trash/<key id>/<job id>              deleted jobs whose objects are still there
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from reelworks import storage
from reelworks.errors import StorageError, StorageErrorKind
from serving.queue import QueueEntry, parse_entry
from serving.record import JobRecord, Status, from_bytes, tombstone

NUM_CACHED = 4096  # records by ETag: a poll of an unchanged job costs one HEAD, a page one LIST
NUM_TRIES = 20  # of a change that races with others; every loss means that another one got through


class IdempotencyConflict(Exception):
    """The same Idempotency-Key came with other fields."""


class Contended(Exception):
    """A record changed so fast that no change of ours got through."""


@dataclass(frozen=True)
class Versioned:
    """A record and the ETag that a change of it must match."""

    record: JobRecord
    etag: str


class Store:
    """Durable jobs of one endpoint; safe in threads, and any number of processes may share one root."""

    def __init__(self, root: str):
        self.root = root.rstrip("/")
        self._cache: OrderedDict[str, Versioned] = OrderedDict()
        self._lock = threading.Lock()

    def create(self, record: JobRecord, idempotency_key: str | None) -> JobRecord:
        """The stored job: this one, or the one that an earlier try with the same key made.

        The order (idempotency object, queue entry, record) makes every retry end with one job.
        Raises IdempotencyConflict.
        """
        if idempotency_key is not None:
            record = self._reserve(record, idempotency_key)
        stored = self.load(record.key_id, record.id)
        if stored is None:
            storage.create_once(self._queue_uri(_entry(record)), b"{}")
            record = from_bytes(storage.create_once(self._record_uri(record.key_id, record.id), record.to_bytes()).data)
        else:
            record = stored.record
        return record

    def load(self, key_id: str, job_id: str) -> Versioned | None:
        """A job's record, tombstones included; None where there is none."""
        uri = self._record_uri(key_id, job_id)
        for _ in range(NUM_TRIES):
            info = storage.head(uri)
            if info is None:
                return None
            found = self._read(uri, info.etag)
            if found is not None:
                return found
        raise Contended(uri)

    def swap(self, found: Versioned, record: JobRecord) -> Versioned | None:
        """Replaces a record; None if it has changed since it was read."""
        uri = self._record_uri(record.key_id, record.id)
        etag = storage.swap(uri, found.etag, record.to_bytes())
        return None if etag is None else self._remember(uri, Versioned(record, etag))

    def delete(self, key_id: str, job_id: str) -> bool:
        """Turns a job into a tombstone; False where there was none. The sweeper removes its objects."""
        for _ in range(NUM_TRIES):
            found = self.load(key_id, job_id)
            if found is None or found.record.status is Status.deleted:
                return False
            storage.create_once(f"{self.root}/trash/{key_id}/{job_id}", b"{}")  # first: else a crash leaves litter
            if self.swap(found, tombstone(found.record)) is not None:
                self.drop_entry(_entry(found.record))
                return True
        raise Contended(self._record_uri(key_id, job_id))

    def page(self, key_id: str, *, after: str | None, limit: int, descending: bool) -> tuple[list[JobRecord], bool]:
        """Up to `limit` living jobs of a key after an id, and whether there are more."""
        records = self._newest_first(key_id, after) if descending else self._oldest_first(key_id, after)
        page: list[JobRecord] = []
        for record in records:
            if len(page) == limit:
                return page, True
            page.append(record)
        return page, False

    def recent_twin(self, key_id: str, digest: str, since_s: int, num_looked_at: int = 50) -> JobRecord | None:
        """The newest job created since a time from the same fields: what a retry whose answer was lost has made."""
        for position, record in enumerate(self._newest_first(key_id, None)):
            if position == num_looked_at or record.created_at < since_s:
                return None
            if record.digest == digest:
                return record
        return None

    def pending(self, key_id: str = "") -> Iterator[QueueEntry]:
        """The queue's entries, of one key or of all."""
        prefix = f"{self.root}/queue/"
        for info in storage.list_objects(prefix + (f"{key_id}/" if key_id else "")):
            entry = parse_entry(info.uri.removeprefix(prefix))
            if entry is not None:
                yield entry

    def drop_entry(self, entry: QueueEntry) -> None:
        """Takes an entry from the queue; harmless when it is gone."""
        storage.delete(self._queue_uri(entry))

    def write_output(self, record: JobRecord, name: str, data: bytes) -> storage.Stored:
        """Writes a file of the record's attempt, once; nobody sees it until a swap of the record names it."""
        return storage.create_once(self.output_uri(record, name), data)

    def output_uri(self, record: JobRecord, name: str) -> str:
        """Where an attempt's file lies."""
        return f"{self.root}/outputs/{record.id}/attempt-{record.attempt}/{name}"

    def finish(self, record: JobRecord) -> None:
        """After the terminal swap: the queue entry goes."""
        self.drop_entry(_entry(record))

    def remove(self, record: JobRecord) -> None:
        """Removes every object of a deleted job; its record last, so that a crash in between is made good."""
        storage.delete_prefix(f"{self.root}/outputs/{record.id}/")
        self.finish(record)
        if record.idempotency is not None:
            storage.delete(f"{self.root}/idempotency/{record.key_id}/{record.idempotency}")
        storage.delete(self._record_uri(record.key_id, record.id))
        self.drop_trash(record.key_id, record.id)

    def drop_trash(self, key_id: str, job_id: str) -> None:
        """Forgets that a deleted job's objects are still there."""
        storage.delete(f"{self.root}/trash/{key_id}/{job_id}")

    def trashed(self) -> Iterator[tuple[str, str]]:
        """(key id, job id) of the deleted jobs whose objects are still there."""
        prefix = f"{self.root}/trash/"
        for info in storage.list_objects(prefix):
            key_id, _, job_id = info.uri.removeprefix(prefix).partition("/")
            yield key_id, job_id

    def _reserve(self, record: JobRecord, idempotency_key: str) -> JobRecord:
        name = hashlib.sha256(idempotency_key.encode()).hexdigest()
        ours = json.dumps({"job_id": record.id, "digest": record.digest}, sort_keys=True).encode()
        stored = json.loads(storage.create_once(f"{self.root}/idempotency/{record.key_id}/{name}", ours).data)
        if stored["digest"] != record.digest:
            raise IdempotencyConflict(idempotency_key)
        return record.model_copy(update={"id": stored["job_id"], "idempotency": name})

    def _newest_first(self, key_id: str, after: str | None) -> Iterator[JobRecord]:
        prefix = self._record_uri(key_id, "")
        for info in storage.list_objects(prefix, start_after=None if after is None else self._key(key_id, after)):
            found = self._read(info.uri, info.etag) or self.load(key_id, info.uri.removeprefix(prefix))
            if found is not None and found.record.status is not Status.deleted:
                yield found.record

    def _oldest_first(self, key_id: str, after: str | None) -> Iterator[JobRecord]:
        prefix = self._record_uri(key_id, "")
        ids = [info.uri.removeprefix(prefix) for info in storage.list_objects(prefix)]
        for job_id in reversed(ids):
            if after is not None and job_id >= after:  # newer ids sort first
                continue
            found = self.load(key_id, job_id)
            if found is not None and found.record.status is not Status.deleted:
                yield found.record

    def _read(self, uri: str, etag: str) -> Versioned | None:
        """The record under this ETag; None if it has changed or gone."""
        with self._lock:
            known = self._cache.get(uri)
        if known is not None and known.etag == etag:
            return known
        try:
            return self._remember(uri, Versioned(from_bytes(storage.get_bytes(uri, etag=etag)), etag))
        except StorageError as error:
            if error.kind in (StorageErrorKind.changed, StorageErrorKind.not_found):
                return None
            raise

    def _remember(self, uri: str, found: Versioned) -> Versioned:
        with self._lock:
            self._cache[uri] = found
            self._cache.move_to_end(uri)
            if len(self._cache) > NUM_CACHED:
                self._cache.popitem(last=False)
        return found

    def _record_uri(self, key_id: str, job_id: str) -> str:
        return f"{self.root}/records/{key_id}/{job_id}"

    def _key(self, key_id: str, job_id: str) -> str:
        return storage.split_uri(self._record_uri(key_id, job_id))[1]

    def _queue_uri(self, entry: QueueEntry) -> str:
        return f"{self.root}/queue/{entry.name}"


def _entry(record: JobRecord) -> QueueEntry:
    return QueueEntry(record.key_id, record.id, record.cost)
