"""The real thing: Ray Data streams from a bucket into two Ray Train workers; a checkpoint, MLflow, the registry."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from reelworks import storage, tracking
from reelworks.errors import UserError
from reelworks.models.checkpoint import read_config
from reelworks.models.vae import CausalVAE, to_pixels
from reelworks.shapeworld.clips import random_clips
from reelworks.train.vae_loop import TrainVAERecipe, train_vae
from reelworks.train.vae_report import contact_sheet, measure_stats, reconstruct
from reelworks.video.encode import encode_mp4
from tests.own_ray import own_ray


@pytest.fixture(scope="module")
def ray_cluster(mlflow_server: str) -> Iterator[None]:
    """A Ray of our own; workers poll often, as on the local stack."""
    os.environ["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] = "0.2"
    with own_ray(6):
        yield


def recipe(prefix: str, **changes: object) -> TrainVAERecipe:
    return TrainVAERecipe.model_validate(
        {
            "name": "test",
            "sources": [{"name": "world", "prefix": f"{prefix}/train/"}],
            "held_out": {"mixes": [{"name": "world", "prefix": f"{prefix}/eval/"}], "num_clips": 2},
            "architecture": {
                "channels": [8, 16, 16],
                "encoder_blocks": [0, 1, 1],
                "decoder_blocks": [0, 1, 1],
                "latent_channels": 4,
            },
            "windows": {"batch_tokens": 96, "first_clips": 2},
            "training": {"steps": 12, "max_minutes": 5, "log_steps": 4, "warmup_steps": 2},
            "workers": {"num_workers": 2, "cpus": 1},
            "checkpoints": f"{prefix}/checkpoints",
            "registered_name": "test-vae",
        }
        | changes
    )


def test_raw_video_becomes_a_registered_vae_with_its_statistics(prefix: str, ray_cluster: None, tmp_path: Path) -> None:
    for index, clip in enumerate(random_clips(5, seed=3, sizes=[(32, 32)])):
        part = "eval" if index == 4 else "train"
        storage.create_once(f"{prefix}/{part}/{index}.mp4", encode_mp4(clip.frames, 8.0))
    storage.create_once(f"{prefix}/train/broken.mp4", b"no video")
    asked = recipe(prefix)
    with tracking.start_run("test", "train_vae", {}, {}) as run:
        results = train_vae(asked, run)
    assert results["steps"] == 12 and results["psnr_db"] > 5
    assert (results["sources"], results["clips"], results["sources_dropped_not_video"]) == (5, 4, 1)
    registered = tracking.resolve_alias("test-vae", "champion")
    assert registered.uri == results["checkpoint"] and registered.version == results["version"]
    vae = CausalVAE.load(storage.download_folder(registered.uri, tmp_path / "vae"))
    assert vae.config == asked.architecture
    assert vae.stats.later_std != (1.0,) * 4
    about = read_config(tmp_path / "vae")
    assert about["steps"] == 12 and about["recipe"]["name"] == "test"


def test_a_prefix_without_video_ends_the_job_before_workers_start(prefix: str, ray_cluster: None) -> None:
    with pytest.raises(UserError, match="no raw video"):
        train_vae(recipe(prefix), tracking.Run("unused"))


def test_final_latents_of_measured_clips_have_deviation_1() -> None:
    vae = CausalVAE(recipe("s3://raw/x").architecture).eval()
    clips = [clip.frames for clip in random_clips(6, seed=0)]
    vae.stats = measure_stats(vae, clips)
    again = measure_stats(_Normalised(vae), clips)
    assert again.first_std == pytest.approx((1.0,) * 4, abs=1e-3)
    assert again.later_mean == pytest.approx((0.0,) * 4, abs=1e-3)


class _Normalised(CausalVAE):
    """Encodes to final latents, so that their statistics can be measured in turn."""

    def __init__(self, vae: CausalVAE) -> None:
        super().__init__(vae.config)
        self.load_state_dict(vae.state_dict())
        self.stats = vae.stats

    def encode(self, pixels, cache=None):
        mean, logvar = super().encode(pixels, cache)
        return self.final_latents(mean), logvar


def test_the_contact_sheet_shows_each_original_left_of_its_copy() -> None:
    clips = [clip.frames for clip in random_clips(2, seed=1, sizes=[(48, 32), (32, 48)])]
    sheet = Image.open(io.BytesIO(contact_sheet([(clip, 255 - clip) for clip in clips], frames_each=2, height_px=32)))
    assert sheet.height == 2 * (32 + 4)
    width = round(32 * clips[0].shape[2] / clips[0].shape[1])
    first, second = sheet.getpixel((width // 2, 16)), sheet.getpixel((2 * (width + 1) + 8 + width // 2, 16))
    assert [255 - value for value in first] == list(second)


def test_a_reconstruction_has_its_clips_shape_and_its_psnr() -> None:
    vae = CausalVAE(recipe("s3://raw/x").architecture).eval()
    frames = next(random_clips(1, seed=2)).frames
    copy, psnr = reconstruct(vae, frames)
    assert copy.shape == frames.shape and copy.dtype == frames.dtype
    import torch

    error = (to_pixels(torch.from_numpy(copy)) - to_pixels(torch.from_numpy(frames))).square().mean()
    assert psnr == pytest.approx(float(10 * torch.log10(4 / error)), abs=0.05)
