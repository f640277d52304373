import numpy as np

from reelworks.evaluate.figures import Proportion
from reelworks.evaluate.text_fidelity import expansion_is_valid, fidelity, permuted, readings
from reelworks.shapeworld.prompts import Prompt, evaluation_prompts


def test_unreadable_videos_count_as_wrong():
    prompts = [Prompt("a red circle", {"colour": "red", "shape": "circle"}, False)] * 2
    read = readings([{"colour": "red", "shape": "", "motion": ""}, {"colour": "", "shape": "", "motion": ""}])
    found = fidelity(prompts, read)
    assert found["colour"] == Proportion(1, 2) and found["shape"] == Proportion(0, 2)
    assert found["motion"] == Proportion(0, 0)


def test_permutation_leaves_no_prompt_in_its_place_and_loses_none():
    prompts = evaluation_prompts(60, seed=3)
    shifted = permuted(prompts, seed=1)
    assert sorted(p.text for p in shifted) == sorted(p.text for p in prompts)
    assert not any(a is b for a, b in zip(prompts, shifted, strict=True))


def test_perfect_readings_fall_to_chance_under_permutation():
    prompts = evaluation_prompts(300, seed=3)
    perfect = [p.named for p in prompts]
    assert fidelity(prompts, perfect)["colour"].rate == 1.0
    control = fidelity(permuted(prompts, seed=1), perfect)
    assert control["colour"].rate < 0.3 and control["motion"].rate < 0.35 and control["shape"].rate < 0.5


def test_seen_and_unseen_prompts_are_measured_apart():
    prompts = evaluation_prompts(40, seed=0)
    assert sum(p.unseen for p in prompts) == 20
    right = [p.named if p.unseen else {} for p in prompts]
    assert fidelity(prompts, right, keep=[p.unseen for p in prompts])["shape"].rate == 1.0
    assert fidelity(prompts, right, keep=[not p.unseen for p in prompts])["shape"].rate == 0.0


def test_expansion_that_drops_or_contradicts_an_attribute_is_invalid():
    prompt = Prompt("a red circle moving left", {"colour": "red", "shape": "circle", "motion": "left"}, False)
    assert expansion_is_valid(prompt, "A large red circle moves from right to left over a dark gray background.")
    assert not expansion_is_valid(prompt, "A large circle moves from right to left.")
    assert not expansion_is_valid(prompt, "A large blue circle moves from right to left.")


def test_evaluation_prompts_are_the_same_in_every_run():
    assert [p.text for p in evaluation_prompts(8, seed=0)] == [p.text for p in evaluation_prompts(8, seed=0)]
    assert np.unique([p.text for p in evaluation_prompts(240, seed=0)]).size == 240
