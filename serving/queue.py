"""Entries of the durable queue and the order in which workers take them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, zip_longest

from serving.ids import is_video_id


@dataclass(frozen=True)
class QueueEntry:
    """Pending work, read from an object's key alone: `<key id>/<job id>~<cost>`."""

    key_id: str
    job_id: str
    cost: int

    @property
    def name(self) -> str:
        """The key below the queue's prefix."""
        return f"{self.key_id}/{self.job_id}~{self.cost}"


def parse_entry(name: str) -> QueueEntry | None:
    """The entry that a key below the queue's prefix names; None for a foreign object."""
    key_id, _, rest = name.partition("/")
    job_id, _, cost = rest.partition("~")
    if not key_id or not is_video_id(job_id) or not cost.isdecimal():
        return None
    return QueueEntry(key_id, job_id, int(cost))


def fair_order(entries: Iterable[QueueEntry]) -> list[QueueEntry]:
    """Oldest first within an API key, one of each key in turn, so that no key's backlog blocks another's job."""
    by_key: dict[str, list[QueueEntry]] = {}
    for entry in sorted(entries, key=lambda entry: entry.job_id, reverse=True):  # ids sort newest first
        by_key.setdefault(entry.key_id, []).append(entry)
    rounds = zip_longest(*by_key.values())
    return [entry for entry in chain.from_iterable(rounds) if entry is not None]
