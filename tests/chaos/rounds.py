"""Which fail points are armed together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

ACTOR_KILLS = 3
"""Kills of one stage's actor in a round: after the fourth Ray gives the actor up, and with it the job."""
FAULTS = ("503", "cut", "late", "lost")


class Calls(NamedTuple):
    """A kind of S3 call, for how many of it there are points (before, after, or both), and their distance.

    A task that dies makes its calls again: with points further apart than these it dies once or twice, not for ever.
    """

    call: str
    points: int
    step: int = 1
    when: tuple[str, ...] = ("before", "after")

    def numbers(self) -> range:
        return range(1, 1 + self.points * self.step, self.step)


WORKERS = {
    "ci": (
        *(Calls(f"PutObject-{stage}", 2) for stage in ("captions", "latents", "text")),
        Calls("PutObject-index", 3, 3),
        Calls("PutObject-quarantine", 2, 2),
        Calls("PutObject-scores", 5, 2),
        Calls("GetObject-sidecar", 3, 4),
        Calls("GetObject-video", 4, 5),
    ),
    "full": (
        *(Calls(f"PutObject-{stage}", 15) for stage in ("captions", "latents", "text")),
        Calls("PutObject-index", 5, 3),
        Calls("PutObject-quarantine", 2, 2),
        Calls("PutObject-scores", 20, 2),
        Calls("GetObject-sidecar", 20, 2),
        Calls("GetObject-video", 20, 3),
    ),
}
DRIVERS = {
    # A driver that dies in the middle of its commit costs another run over what is stored; the others cost a start.
    "ci": (
        Calls("PutObject-runs", 1),
        Calls("PutObject-parts", 1, when=("after",)),
        Calls("PutObject-snapshots", 1, when=("after",)),
    ),
    "full": (
        Calls("PutObject-runs", 1),
        Calls("ListObjectsV2-listing", 6),
        Calls("PutObject-parts", 2),
        Calls("PutObject-snapshots", 1),
    ),
}
LOST_NODES = {"ci": 1, "full": 4}
FAULTY = {"ci": 3, "full": 15}
"""Calls of each kind that the bucket answers badly."""


@dataclass(frozen=True)
class Round:
    """Points armed together: name -> action."""

    points: dict[str, str]
    drivers_at_once: int = 1


def rounds(size: str) -> list[Round]:
    """The plan: kills of workers and drivers spread over rounds, then lost nodes, two drivers at once, the first time
    with a failing bucket."""
    workers = [point for calls in WORKERS[size] for point in _around("worker", calls)]
    drivers = [point for calls in DRIVERS[size] for point in _around("driver", calls)]
    count = -(-2 * WORKERS[size][0].points // ACTOR_KILLS)
    # Neighbours in the list are of one kind of call, so every round gets its share of each.
    planned = [Round(dict.fromkeys(workers[number::count] + drivers[number::count], "kill")) for number in range(count)]
    for number in range(LOST_NODES[size]):
        kills = ("worker-after-PutObject-latents-4", "worker-before-PutObject-captions-3")
        points = {f"worker-before-PutObject-latents-{2 * number + 1}": "raylet"} | dict.fromkeys(kills, "kill")
        faults = {} if number else dict(_faults(FAULTY[size]))
        planned.append(Round(faults | points, drivers_at_once=2))
    return planned


def _around(role: str, calls: Calls) -> Iterator[str]:
    for n in calls.numbers():
        yield from (f"{role}-{when}-{calls.call}-{n}" for when in calls.when)


def _faults(times: int) -> Iterator[tuple[str, str]]:
    """Refused, cut, late and lost answers, each at every kind of call."""
    calls = [f"worker-before-PutObject-{stage}" for stage in ("index", "scores", "captions", "latents", "text")]
    calls += ["worker-before-GetObject-video", "driver-before-PutObject-parts", "driver-before-PutObject-snapshots"]
    for number, call in enumerate(calls):
        for n in range(1, times + 1):
            action = FAULTS[(number + n) % len(FAULTS)]
            yield f"{call}-{n}", "cut" if action == "lost" and "GetObject" in call else action
