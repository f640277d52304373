from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reelworks.data.packing import plan_epoch

SIDES = [16, 20, 24, 48, 60, 72, 80, 96, 120, 160]


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.sampled_from(SIDES), min_size=8, max_size=300),
    packs=st.sampled_from([1, 2, 4, 8]),
    seed=st.integers(0, 99),
    epoch=st.integers(0, 9),
)
def test_every_clip_stands_in_an_epoch_once_and_no_pack_overflows(
    lengths: list[int], packs: int, seed: int, epoch: int
) -> None:
    plan = plan_epoch(lengths, 400, seed, epoch, packs, 0.01)
    assert sorted(i for step in plan.steps for pack in step for i in pack) == list(range(len(lengths)))
    assert all(len(step) == packs and all(step) for step in plan.steps)
    assert all(sum(lengths[i] for i in pack) <= 400 for step in plan.steps for pack in step)
    assert plan.tokens == [sum(lengths[i] for pack in step for i in pack) for step in plan.steps]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_less_than_two_percent_of_the_full_steps_is_empty(seed: int) -> None:
    random = Random(seed)
    lengths = [random.choice(SIDES) for _ in range(700)]
    plan = plan_epoch(lengths, 1200, seed, 0, 4, 0.01)
    full = plan.tokens[:-2]  # the end of an epoch has to take what is left
    assert len(full) > 5 and 1 - sum(full) / (len(full) * 4 * 1200) < 0.02


def test_a_plan_is_a_function_of_its_arguments_and_epochs_differ() -> None:
    lengths = [16, 48, 60, 72, 120] * 40
    assert plan_epoch(lengths, 600, 3, 1, 2, 0.01) == plan_epoch(lengths, 600, 3, 1, 2, 0.01)
    assert plan_epoch(lengths, 600, 3, 1, 2, 0.01) != plan_epoch(lengths, 600, 3, 2, 2, 0.01)
    assert plan_epoch(lengths, 600, 3, 1, 2, 0.01) != plan_epoch(lengths, 600, 4, 1, 2, 0.01)


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_every_number_of_ranks_takes_the_same_packs(ranks: int) -> None:
    plan = plan_epoch([16, 48, 60, 72, 120] * 40, 600, 0, 0, 4, 0.01)
    for step in range(len(plan.steps)):
        shares = [plan.packs_of_rank(step, rank, ranks) for rank in range(ranks)]
        assert {len(share) for share in shares} == {4 // ranks}
        assert sorted(pack for share in shares for pack in share) == sorted(plan.steps[step])


def test_packs_of_a_step_cost_nearly_the_same_though_their_clips_differ() -> None:
    lengths, ratio = [40] * 400 + [400] * 60, 0.02
    plan = plan_epoch(lengths, 4000, 0, 0, 4, ratio)
    idle = []
    for step in plan.steps[:-1]:
        costs = [sum(lengths[i] + ratio * lengths[i] ** 2 for i in pack) for pack in step]
        idle.append(1 - sum(costs) / (len(costs) * max(costs)))
    assert max(idle) < 0.1


def test_a_clip_that_no_pack_can_hold_is_named() -> None:
    with pytest.raises(ValueError, match="clip 1 has 500 tokens"):
        plan_epoch([100, 500], 400, 0, 0, 1, 0.0)
    with pytest.raises(ValueError, match="can't fill"):
        plan_epoch([100], 400, 0, 0, 2, 0.0)


def test_no_rank_is_left_without_a_clip_where_every_pack_holds_one() -> None:
    plan = plan_epoch([480, 480, 480], 640, 0, 0, 2, 0.0)
    packs = [pack for packs in plan.steps for pack in packs]
    assert all(packs) and {index for pack in packs for index in pack} == {0, 1, 2}
