import random
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from reelworks.config import load_recipe
from reelworks.data.latents import Example, TensorRef
from reelworks.models.dit import DiTConfig
from reelworks.train.dit_batch import TrainingBatch, TrainingClip, build, choose_caption, total_weight
from reelworks.train.dit_loop import caption_sample
from reelworks.train.dit_recipe import Objective, Text, TrainDiTRecipe

CONFIG = DiTConfig(channels=4, width=24, layers=1, heads=2, text_width=6)
CPU = torch.device("cpu")
RECIPES = Path(__file__).resolve().parents[2] / "jobs" / "recipes"


def clip(name: str, frames: int) -> TrainingClip:
    generator = torch.Generator().manual_seed(frames)
    return TrainingClip(name, 8.0, torch.randn(4, frames, 2, 3, generator=generator), torch.ones(2, 6))


CLIPS = [clip("a", 3), clip("b", 1), clip("c", 2)]


def packed(clips: list[TrainingClip], weighting: str = "token", epoch: int = 0) -> TrainingBatch:
    objective = Objective(reference_tokens=10.0, weighting=weighting)  # type: ignore[arg-type]
    tokens = [one.latents[0].numel() for one in CLIPS]
    return build(clips, CONFIG, objective, 0, epoch, total_weight(tokens, weighting), CPU)


def test_what_a_clip_is_trained_on_does_not_depend_on_its_pack() -> None:
    together, alone = packed(CLIPS), packed([CLIPS[0]])
    # Clips stand in the order of their shapes: b, c, a.
    assert torch.equal(together.inputs.tokens[18:], alone.inputs.tokens)
    assert torch.equal(together.target[18:], alone.target)
    assert torch.equal(together.inputs.timestep[2:], alone.inputs.timestep)
    assert torch.equal(together.weight[18:], alone.weight)


def test_another_epoch_has_other_noise_and_timesteps() -> None:
    first, second = packed(CLIPS), packed(CLIPS, epoch=1)
    assert not torch.isclose(first.inputs.timestep, second.inputs.timestep).any()
    assert not torch.allclose(first.target, second.target)


@pytest.mark.parametrize(
    ("weighting", "of_a"), [("token", 18 / 36), ("clip", 1 / 3), ("sqrt", 18**0.5 / (18**0.5 + 6**0.5 + 12**0.5))]
)
def test_weights_of_a_step_add_up_to_one_over_its_packs(weighting: str, of_a: float) -> None:
    parts = [packed([one], weighting).weight.sum().item() for one in CLIPS]
    assert sum(parts) == pytest.approx(1, abs=1e-6)
    assert parts[0] == pytest.approx(of_a, abs=1e-6)


def test_captions_are_chosen_by_their_shares_and_dropped_by_the_dropout() -> None:
    text = Text(encoder="x", max_tokens=8, captions={"descriptive": 0.7, "original": 0.3}, dropout=0.1)
    kinds = [choose_caption(("original", "descriptive"), text, 0, str(i), 0) for i in range(2000)]
    assert kinds.count(None) / 2000 == pytest.approx(0.1, abs=0.02)
    assert kinds.count("original") / 2000 == pytest.approx(0.27, abs=0.03)
    assert choose_caption(("original",), text.model_copy(update={"dropout": 0.0}), 0, "a", 0) == "original"
    again = [choose_caption(("original", "descriptive"), text, 0, str(i), 0) for i in range(50)]
    assert again == kinds[:50]
    assert again != [choose_caption(("original", "descriptive"), text, 0, str(i), 1) for i in range(50)]


# Of the clips clip-0 to clip-199 at seed 0 in epoch 0, by default: which learn from the original, and from no caption.
GOLDEN_ORIGINAL = [18, 22, 30, 51, 65, 77, 79, 99, 112, 169, 178, 179, 186]
GOLDEN_NONE = [0, 4, 8, 9, 10, 11, 15, 23, 25, 33, 56, 57, 58, 81, 95, 116, 142, 149, 152, 154, 164, 177, 180]


def default_mix(seed: int = 0, epoch: int = 0, num_clips: int = 200) -> list[str | None]:
    text = Text(encoder="x", max_tokens=8)
    kinds = ("original", "short", "descriptive")
    return [choose_caption(kinds, text, seed, f"clip-{index}", epoch) for index in range(num_clips)]


def test_by_default_95_in_100_captions_are_descriptive_and_5_original() -> None:
    assert Text(encoder="x", max_tokens=8).captions == {"descriptive": 0.95, "original": 0.05}
    for size in ("laptop", "cluster"):
        recipe = load_recipe(TrainDiTRecipe, RECIPES / size / "train_dit.yaml")
        assert recipe.text.captions == {"descriptive": 0.95, "original": 0.05}
    shown = [kind for kind in default_mix(num_clips=2500) if kind is not None]
    assert set(shown) == {"descriptive", "original"}
    assert shown.count("original") / len(shown) == pytest.approx(0.05, abs=0.01)


def test_the_caption_of_a_clip_is_a_function_of_its_id_the_epoch_and_the_seed_alone() -> None:
    first = default_mix()
    assert [index for index, kind in enumerate(first) if kind == "original"] == GOLDEN_ORIGINAL
    assert [index for index, kind in enumerate(first) if kind is None] == GOLDEN_NONE
    assert len({tuple(default_mix(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4
    torch.manual_seed(1)
    random.seed(1)
    text = Text(encoder="x", max_tokens=8)
    backwards = [
        choose_caption(("descriptive", "original"), text, 0, f"clip-{index}", 0) for index in range(199, -1, -1)
    ]
    assert backwards[::-1] == first


def test_the_text_statistics_are_of_the_commonest_kind_alone() -> None:
    def ref(value: float) -> TensorRef:
        return TensorRef("s3://b/k", int(value), 8, (1, 2), "float32", "")

    examples = [
        Example("a", 8.0, ref(0), {"original": ref(1), "short": ref(2), "descriptive": ref(3)}),
        Example("b", 8.0, ref(0), {"original": ref(4)}),
    ]
    reader = SimpleNamespace(get=lambda one: one.offset)
    text = Text(encoder="x", max_tokens=8, captions={"original": 0.05, "descriptive": 0.95})
    assert caption_sample(examples, reader, text) == [3, 4]  # type: ignore[arg-type]
