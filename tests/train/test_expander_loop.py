"""reelworks.train.expander_loop and expander_worker: which pairs are learned, and what is done to the prompts."""

from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from reelworks.models.expander import Expander
from reelworks.models.small_expander import ExpanderSize, create_expander
from reelworks.train.expander_loop import caption_pairs
from reelworks.train.expander_recipe import TrainExpanderRecipe
from reelworks.train.expander_worker import measure, pair_batches
from reelworks.train.finetune import FinetuneSpec
from reelworks.train.prompt_noise import noisy_prompt

TRAINING = FinetuneSpec(steps=1, max_minutes=1, batch=4, learning_rate=1e-3)
SIZE = ExpanderSize(width=32, depth=1, num_heads=2, vocabulary=300)


@pytest.fixture
def expander(tmp_path: Path) -> Expander:
    create_expander(tmp_path, SIZE, ["a red circle"], seed=0)
    return Expander(tmp_path, max_new_tokens=4)


def test_pairs_skip_captions_that_a_clip_lacks() -> None:
    rows = [
        {"caption_original": "red ball", "caption_short": None, "caption_descriptive": "A red circle."},
        {"caption_original": "blue box", "caption_short": "box, blue", "caption_descriptive": "A blue square."},
        {"caption_original": "lost", "caption_short": "lost", "caption_descriptive": None},
    ]
    assert caption_pairs(rows, ("original", "short")) == [
        ("red ball", "A red circle."),
        ("blue box", "A blue square."),
        ("box, blue", "A blue square."),
    ]


def test_every_pair_is_used_equally_often_in_batches_of_like_length(expander: Expander) -> None:
    pairs = [(f"prompt {index}", "a red circle " * (1 + index)) for index in range(6)]
    batches = list(islice(pair_batches(expander, pairs, 3, 0.0, np.random.default_rng(0)), 16))
    texts = [expander.tokenizer.decode(row[row != -100]) for batch in batches for row in batch["labels"]]
    assert Counter(texts) == {f"{answer}<|end|>": 8 for _, answer in pairs}
    spread = [max(lengths) - min(lengths) for batch in batches if (lengths := batch["attention_mask"].sum(1).tolist())]
    whole = [int(batch["attention_mask"].sum(1).max()) for batch in batches]
    assert max(spread) < max(whole) - min(whole)


def test_noise_keeps_every_word_that_carries_meaning() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        noisy = noisy_prompt("tiny crimson disc moves to the left", rng).lower()
        assert all(word in noisy for word in ("tiny", "crimson", "disc", "mov", "to the left"[:2], "left"))
    assert noisy_prompt("a red circle", np.random.default_rng(5)) == noisy_prompt(
        "a red circle", np.random.default_rng(5)
    )


def test_an_untrained_expander_is_measured_as_the_prompts_themselves(expander: Expander) -> None:
    figures, samples = measure(expander, 12, seed=0)
    # Cut-off answers fall back to the prompts, which keep what they name.
    assert figures == {"expander_validity": 1.0, "expander_validity_unseen": 1.0}
    assert len(samples) == 12
    assert measure(expander, 0, seed=0) == ({}, [])


def test_a_recipe_says_where_to_begin_exactly_once() -> None:
    given = {"name": "x", "dataset": "s3://a/b", "snapshot": "c@latest", "training": TRAINING}
    for beginning in ({}, {"start": "hf:a/b", "size": SIZE}):
        with pytest.raises(ValidationError, match="either start .* or size"):
            TrainExpanderRecipe(**given, **beginning)
    with pytest.raises(ValidationError, match="must divide"):
        TrainExpanderRecipe(**given, size=SIZE, workers={"num_workers": 3})
