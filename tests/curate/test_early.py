"""Models are loaded as the actors start where nothing of their stage is stored, and else only where they are asked."""

from functools import cached_property

import pytest

from reelworks import storage
from reelworks.curate.caption import CaptionActor
from reelworks.curate.plan import Plan
from tests.curate.painted_captions import plan_of


class Counting(CaptionActor):
    """Counts how often the model is loaded."""

    loads = 0

    @cached_property
    def captioner(self) -> object:  # type: ignore[override]
        type(self).loads += 1
        return object()


@pytest.fixture
def plan(prefix: str) -> Plan:
    Counting.loads = 0
    return plan_of(prefix, deterministic=True)


@pytest.mark.parametrize(("stored", "loads"), [(False, 1), (True, 0)])
def test_a_model_is_loaded_once_as_its_actor_starts_or_where_results_are_stored_when_it_is_asked(
    plan: Plan, stored: bool, loads: int
) -> None:
    if stored:
        storage.create_once(f"{plan.prefix('captions')}some", b"")
    actor = Counting(plan)
    assert Counting.loads == loads
    assert actor.captioner is actor.captioner
    assert Counting.loads == 1


def test_other_results_of_the_stage_do_not_count(plan: Plan) -> None:
    storage.create_once(plan.uri(f"captions/{'0' * 32}/some"), b"")
    Counting(plan)
    assert Counting.loads == 1


def test_a_bucket_that_does_not_answer_is_left_to_the_first_chunk(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    Counting(plan)
    assert Counting.loads == 0
