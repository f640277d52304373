from reelworks.shapeworld.attributes import Colour, Motion, Shape, is_held_out
from reelworks.shapeworld.captions import SHORT_TEMPLATES
from reelworks.shapeworld.clips import random_clips
from reelworks.shapeworld.parse import parse
from reelworks.shapeworld.prompts import PROMPT_TEMPLATES, evaluation_prompts


def test_prompts_are_distinct_name_the_truth_and_half_of_them_are_unseen_triples() -> None:
    prompts = evaluation_prompts(240, seed=1)
    assert len({prompt.text for prompt in prompts}) == 240
    assert sum(prompt.unseen for prompt in prompts) == 120
    for prompt in prompts:
        assert parse(prompt.text) == prompt.named
        named = prompt.named
        triple = Colour(named["colour"]), Shape(named["shape"]), Motion(named["motion"])
        assert is_held_out(triple) == prompt.unseen


def test_prompts_are_worded_as_no_training_caption_is() -> None:
    assert not set(PROMPT_TEMPLATES) & set(SHORT_TEMPLATES)
    captions = {clip.caption for clip in random_clips(1500, seed=0, sizes=[(8, 8)], num_frames=[1])}
    assert not captions & {prompt.text for prompt in evaluation_prompts(240, seed=1)}
    assert len(captions) > 900


def test_the_same_seed_gives_the_same_prompts() -> None:
    assert evaluation_prompts(30, seed=2) == evaluation_prompts(30, seed=2) != evaluation_prompts(30, seed=3)
