"""Removes what no job needs: objects of deleted jobs, queue entries whose record was never written.

Any ingress may sweep; what it does is idempotent, so two at once only waste a few requests.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from serving.record import Status
from serving.store import Store

logger = logging.getLogger(__name__)

# A create that stopped between its queue entry and its record is retried by the client within minutes or never.
ORPHAN_AGE_S = 900.0


class Sweeper:
    """Removes an object only after it has seen it unchanged for long enough on its own monotonic clock."""

    def __init__(self, store: Store, period_s: float, clock: Callable[[], float] = time.monotonic):
        self._store, self._period_s, self._clock = store, period_s, clock
        self._seen: dict[str, float] = {}
        self._stop = threading.Event()

    def start(self) -> None:
        """Sweeps every `period_s` in a thread."""
        threading.Thread(target=self._run, daemon=True, name="sweep").start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stop.set()

    def sweep(self) -> int:
        """One round; how many jobs and entries went."""
        removed, alive = 0, set()
        for key_id, job_id in list(self._store.trashed()):
            name = f"trash/{job_id}"
            alive.add(name)
            found = self._store.load(key_id, job_id)
            if found is None:
                self._store.drop_trash(key_id, job_id)
            elif found.record.status is Status.deleted and self._age(name) > found.record.lease_s:
                self._store.remove(found.record)  # no lease on it can be live any more
                removed += 1
        for entry in list(self._store.pending()):
            name = f"queue/{entry.name}"
            if self._store.load(entry.key_id, entry.job_id) is None:
                alive.add(name)
                if self._age(name) > ORPHAN_AGE_S:
                    self._store.drop_entry(entry)
                    removed += 1
        self._forget_all_but(alive)
        return removed

    def _age(self, name: str) -> float:
        return self._clock() - self._seen.setdefault(name, self._clock())

    def _forget_all_but(self, alive: Iterable[str]) -> None:
        self._seen = {name: self._seen[name] for name in alive if name in self._seen}

    def _run(self) -> None:
        while not self._stop.wait(self._period_s):
            try:
                self.sweep()
            except Exception:  # the bucket is away: the next round does what this one couldn't
                logger.exception("the sweep failed")
