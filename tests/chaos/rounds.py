"""Which fail points are armed together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

WRITTEN = ("index", "scores", "captions", "latents", "text")
ACTOR_KILLS = 3
"""Kills of one stage's actor in a round: after the fourth Ray gives the actor up, and with it the job."""
FAULTS = ("503", "cut", "late", "lost")
TIMES = {"ci": 3, "full": 15}
"""For how many of each kind of call there is a point."""
QUARANTINED = 4
"""Hostile files of the corpus: no more records are written."""


@dataclass(frozen=True)
class Round:
    """Points armed together: name -> action."""

    points: dict[str, str]
    drivers_at_once: int = 1


def rounds(size: str) -> list[Round]:
    """The plan: kills of workers and drivers spread over rounds, then a lost node, faults, and two drivers at once."""
    times = TIMES[size]
    workers, drivers = list(_worker_points(times)), list(_driver_points(size))
    count = -(-2 * times // ACTOR_KILLS)
    # Neighbours in the list are of one stage, so every round gets its share of each.
    planned = [Round(dict.fromkeys(workers[number::count] + drivers[number::count], "kill")) for number in range(count)]
    for number in range(1 if size == "ci" else 4):
        planned.append(Round({f"worker-before-PutObject-latents-{2 * number + 1}": "raylet"}))
    planned.append(Round(dict(_faults(times))))
    two = dict.fromkeys(("worker-after-PutObject-latents-2", "worker-before-PutObject-captions-2"), "kill")
    planned.append(Round(two, drivers_at_once=2))
    return planned


def _worker_points(times: int) -> Iterator[str]:
    """Around every kind of S3 call of a worker; one stage after the other."""
    calls = [(f"PutObject-{stage}", times) for stage in WRITTEN]
    calls += [("PutObject-quarantine", min(times, QUARANTINED))]
    calls += [("GetObject-video", times), ("GetObject-sidecar", times)]
    for call, most in calls:
        for n in range(1, most + 1):
            yield from (f"worker-{when}-{call}-{n}" for when in ("before", "after"))


def _driver_points(size: str) -> Iterator[str]:
    """Around the parts and the manifest; in full also while the driver announces its run and looks at what is there."""
    calls = {"PutObject-parts": 1, "PutObject-snapshots": 1}
    if size == "full":
        calls |= {"PutObject-parts": 2, "PutObject-runs": 1, "ListObjectsV2-listing": 6}
    for call, most in calls.items():
        for n in range(1, most + 1):
            yield from (f"driver-{when}-{call}-{n}" for when in ("before", "after"))


def _faults(times: int) -> Iterator[tuple[str, str]]:
    """Refused, cut, late and lost answers, each at every kind of call."""
    calls = [f"worker-before-PutObject-{stage}" for stage in WRITTEN]
    calls += ["worker-before-GetObject-video", "driver-before-PutObject-parts", "driver-before-PutObject-snapshots"]
    for number, call in enumerate(calls):
        for n in range(1, times + 1):
            action = FAULTS[(number + n) % len(FAULTS)]
            yield f"{call}-{n}", "cut" if action == "lost" and "GetObject" in call else action
