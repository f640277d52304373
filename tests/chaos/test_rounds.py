"""tests.chaos.rounds: the plan of a chaos run kills enough, and no stage's actor more often than it may start again."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.chaos.data import LEAST
from tests.chaos.failpoints import KILLS
from tests.chaos.rounds import ACTOR_KILLS, FAULTS, rounds

ACTORS = ("captions", "latents", "text")


@pytest.mark.parametrize("size", list(LEAST))
def test_a_run_has_enough_named_kills_of_every_kind(size: str) -> None:
    points = [(name, action) for one in rounds(size) for name, action in one.points.items()]
    killed = [name for name, action in points if action in KILLS]
    assert len(set(killed)) >= LEAST[size]
    assert sum(name.startswith("driver-") for name in killed) >= 3
    assert ("raylet" in dict(points).values()) and any(one.drivers_at_once > 1 for one in rounds(size))
    assert {action for _, action in points} == {*KILLS, *FAULTS}


@pytest.mark.parametrize("size", list(LEAST))
def test_no_actor_is_killed_more_often_in_a_round_than_ray_starts_it_again(size: str) -> None:
    for one in rounds(size):
        stages = Counter(
            name.split("-")[3] for name, action in one.points.items() if action == "kill" and "PutObject" in name
        )
        assert all(stages[stage] <= ACTOR_KILLS for stage in ACTORS)
