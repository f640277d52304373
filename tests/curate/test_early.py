"""Models are loaded as the actors start where nothing of their stage is stored, and else only where they are asked."""

import pytest

from reelworks import storage
from reelworks.curate.caption import CaptionActor
from reelworks.curate.early import has_work
from reelworks.curate.plan import Plan
from tests.curate.painted_captions import plan_of


class Counting(CaptionActor):
    """Counts how often the model is loaded."""

    loads = 0

    def _load(self) -> object:  # type: ignore[override]
        type(self).loads += 1
        return object()


@pytest.fixture
def plan(prefix: str) -> Plan:
    Counting.loads = 0
    return plan_of(prefix, deterministic=True)


def test_a_model_is_loaded_once_as_its_actor_starts_where_nothing_is_stored(plan: Plan) -> None:
    actor = Counting(plan)
    assert Counting.loads == 1
    assert actor.captioner is actor.captioner
    assert Counting.loads == 1


def test_a_model_waits_until_it_is_asked_where_results_are_stored(plan: Plan) -> None:
    storage.create_once(plan.uri(f"captions/{plan.fingerprints['captions']}/some"), b"")
    actor = Counting(plan)
    assert Counting.loads == 0
    assert actor.captioner is actor.captioner
    assert Counting.loads == 1


def test_other_results_of_the_stage_do_not_count(plan: Plan) -> None:
    storage.create_once(plan.uri(f"captions/{'0' * 32}/some"), b"")
    assert has_work(plan, "captions")


def test_a_bucket_that_does_not_answer_is_left_to_the_first_chunk(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    assert not has_work(plan, "captions")
