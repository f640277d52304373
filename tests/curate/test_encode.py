"""The VAE-encoding stage without Ray: passes of bounded size, and when their size decides about the latents' bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reelworks.curate.encode import LatentActor, segments
from reelworks.curate.plan import STAGE_VERSION, make_plan, stage_fingerprints
from reelworks.curate.prepare import check_models
from reelworks.curate.recipe import PrepareRecipe
from reelworks.errors import UserError
from reelworks.models.vae_tiles import tiles
from tests.curate.conftest import recipe_for

DIGESTS = {"captions": "c", "text": "t", "latents": "v"}


def recipe(models: dict[str, str], max_tokens: int, **vae: Any) -> PrepareRecipe:
    clips = {"max_tokens": max_tokens}
    return recipe_for("s3://b/data", "s3://b/raw/", models, clips=clips, vae={"source": models["vae"], **vae})


def clips_of(size: tuple[int, int], count: int) -> list[np.ndarray]:
    return [np.random.default_rng(seed).integers(0, 256, (9, *size, 3), np.uint8) for seed in range(count)]


def test_frames_too_large_for_a_pass_have_the_latents_of_the_whole(models: dict[str, str]) -> None:
    clips = clips_of((208, 312), 1)
    tiled, at_once = (
        LatentActor(make_plan(recipe(models, 100_000, chunk_latents=2, pass_pixels=pixels)))
        for pixels in (1 << 16, 1 << 24)
    )
    assert (tiled.clips_a_pass(clips[0].shape), at_once.clips_a_pass(clips[0].shape)) == (1, 16)
    expected = at_once.encode_batch(clips)
    assert expected.shape == (1, 4, 3, 26, 39)
    torch.testing.assert_close(tiled.encode_batch(clips), expected, atol=1e-5, rtol=0)


def test_frames_that_cannot_be_written_to_are_encoded_as_they_lie(models: dict[str, str]) -> None:
    actor = LatentActor(make_plan(recipe(models, 1024)))
    clips = clips_of((32, 40), 2)
    expected = actor.encode_batch(clips)
    for clip in clips:
        clip.setflags(write=False)  # as a block's memory is
    assert torch.equal(actor.encode_batch(clips), expected)
    assert segments(9) == {"latents": 0, "tail_1": 8, "tail_5": 4}


def test_the_size_of_a_pass_is_in_the_fingerprint_only_where_a_clip_can_exceed_it(models: dict[str, str]) -> None:
    def latents(max_tokens: int, **vae: Any) -> str:
        return stage_fingerprints(recipe(models, max_tokens, **vae), DIGESTS)["latents"]

    # 16 clips of 128 tokens of 256 pixels are the default pass.
    assert latents(128) == latents(128, pass_pixels=1 << 25)
    assert latents(128) != latents(128, pass_pixels=(1 << 19) - 1)
    assert latents(129) != latents(129, pass_pixels=1 << 21)
    assert latents(2048, batch_clips=1) == latents(2048, batch_clips=1, pass_pixels=1 << 23)
    assert latents(2049, batch_clips=1) != latents(2049, batch_clips=1, pass_pixels=1 << 23)


def test_a_vae_whose_tiles_would_not_be_exact_is_refused_before_a_worker_starts(
    models: dict[str, str], tmp_path: Path
) -> None:
    check_models(recipe(models, 1024))
    (tmp_path / "config.json").write_text('{"_class_name": "AutoencoderKLWan"}')
    with pytest.raises(UserError, match="'AutoencoderKLWan'.*that one's chunks and tiles are exact"):
        check_models(recipe(models | {"vae": str(tmp_path)}, 1024))
    (tmp_path / "config.json").rename(tmp_path / "model_index.json")
    with pytest.raises(UserError, match="has no config.json"):
        check_models(recipe(models | {"vae": str(tmp_path)}, 1024))


@pytest.mark.parametrize("pixels", [0, -1, 1000])
def test_a_pass_of_no_size_is_refused(models: dict[str, str], pixels: int) -> None:
    with pytest.raises(ValueError, match="pass_pixels"):
        recipe(models, 1024, pass_pixels=pixels)


def test_the_tiles_of_a_frame_change_only_with_their_stage_version() -> None:
    assert STAGE_VERSION["latents"] == 1
    rows = [(0, 15, 0, 18), (15, 30, 12, 30)]
    columns = [(0, 13, 0, 16), (13, 26, 10, 29), (26, 39, 23, 42), (39, 53, 36, 53)]
    assert tiles(30, 53, 3, 400) == [(row, column) for row in rows for column in columns]
