"""The causal VAE: strides, causality, chunks, statistics, checkpoints."""

import json
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reelworks.errors import UserError
from reelworks.models.latent_stats import LatentStats
from reelworks.models.vae import CausalVAE, VAEConfig, to_frames, to_pixels

TINY = VAEConfig(channels=(4, 8, 8), encoder_blocks=(1, 1, 1), decoder_blocks=(1, 1, 1), latent_channels=4)


def changed(**fields: Any) -> VAEConfig:
    return VAEConfig(**(TINY.model_dump() | fields))


def random_vae(config: VAEConfig = TINY, seed: int = 0) -> CausalVAE:
    """A network in which every weight, the zero-initialised ones too, does something."""
    generator = torch.Generator().manual_seed(seed)
    vae = CausalVAE(config).requires_grad_(False).eval()
    for parameter in vae.parameters():
        parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return vae


def random_pixels(frames: int, height: int = 16, width: int = 24, seed: int = 1) -> torch.Tensor:
    return torch.rand(2, 3, frames, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize(
    "config",
    [
        TINY,
        changed(
            patch_px=1,
            channels=(4, 4, 8, 8),
            encoder_blocks=(0, 1, 0, 1),
            decoder_blocks=(0, 1, 0, 1),
            temporal=(False, True, True),
        ),
    ],
)
def test_strides_are_4x8x8_and_decoding_restores_the_shape(config: VAEConfig) -> None:
    vae, pixels = random_vae(config), random_pixels(9)
    mean, logvar = vae.encode(pixels)
    assert mean.shape == logvar.shape == (2, 4, 3, 2, 3)
    assert vae.decode(mean).shape == pixels.shape


def test_an_image_has_the_first_latent_of_the_video_it_begins() -> None:
    vae, pixels = random_vae(), random_pixels(13)
    whole, image = vae.encode(pixels)[0], vae.encode(pixels[:, :, :1])[0]
    torch.testing.assert_close(whole[:, :, :1], image, atol=1e-6, rtol=0)
    torch.testing.assert_close(vae.decode(whole)[:, :, :1], vae.decode(image), atol=1e-5, rtol=0)


@pytest.mark.parametrize("changed", [1, 4, 5, 8, 12])
def test_a_changed_frame_alters_no_earlier_latent_or_frame(changed: int) -> None:
    vae, pixels = random_vae(), random_pixels(13)
    other = pixels.clone()
    other[:, :, changed] = -other[:, :, changed]
    latents, altered = vae.encode(pixels)[0], vae.encode(other)[0]
    first = (changed + 3) // 4  # the latent that covers this frame
    assert torch.equal(latents[:, :, :first], altered[:, :, :first])
    assert not torch.allclose(latents[:, :, first], altered[:, :, first])
    frames, altered_frames = vae.decode(latents), vae.decode(altered)
    before = max(0, 4 * first - 3)
    torch.testing.assert_close(frames[:, :, :before], altered_frames[:, :, :before], atol=1e-6, rtol=0)


@given(latents=st.integers(1, 6), chunk=st.integers(1, 4), seed=st.integers(0, 2**16))
@settings(max_examples=25, deadline=None)
def test_chunks_with_a_cache_give_what_the_whole_gives(latents: int, chunk: int, seed: int) -> None:
    vae, pixels = random_vae(seed=seed), random_pixels(4 * latents - 3, seed=seed)
    whole = vae.encode(pixels)[0]
    scale = max(1.0, float(whole.abs().max()))
    torch.testing.assert_close(vae.encode_chunks(pixels, chunk), whole, atol=1e-5 * scale, rtol=0)
    frames = vae.decode(whole)
    scale = max(1.0, float(frames.abs().max()))
    torch.testing.assert_close(vae.decode_chunks(whole, chunk), frames, atol=1e-5 * scale, rtol=0)


def test_encoding_keeps_no_state_between_calls() -> None:
    vae, pixels = random_vae(), random_pixels(9)
    first = vae.encode(pixels)[0]
    vae.encode(random_pixels(5, seed=7), {})
    assert torch.equal(vae.encode(pixels)[0], first)


@pytest.mark.parametrize(("frames", "height", "width"), [(4, 16, 16), (5, 12, 16), (5, 16, 20)])
def test_shapes_that_do_not_fit_the_strides_are_refused(frames: int, height: int, width: int) -> None:
    with pytest.raises(UserError, match="cannot encode"):
        random_vae().encode(random_pixels(frames, height, width))


@pytest.mark.parametrize(
    "wrong",
    [
        {"patch_px": 4},
        {"temporal": (True, False)},
        {"decoder_blocks": (1, 1)},
        {"latent_channels": 0},
    ],
)
def test_sizes_that_contradict_each_other_are_refused(wrong: dict) -> None:
    with pytest.raises(UserError, match="VAE"):
        changed(**wrong)


def test_final_latents_have_mean_0_and_deviation_1_and_turn_back_into_raw_ones() -> None:
    generator = torch.Generator().manual_seed(3)
    scale = torch.tensor([0.1, 1.0, 5.0, 20.0])[:, None, None, None]
    clips = [scale * torch.randn(4, t, 3, 5, generator=generator) + 2 * scale for t in (1, 3, 5, 9, 9, 9)]
    for clip in clips:
        clip[:, 0] *= 3  # the first latent is another population
    stats = LatentStats.measure(clips)
    for part in (slice(0, 1), slice(1, None)):
        values = torch.cat([stats.final(clip)[:, part].flatten(1) for clip in clips], dim=1)
        torch.testing.assert_close(values.mean(1), torch.zeros(4), atol=1e-5, rtol=0)
        torch.testing.assert_close(values.std(1), torch.ones(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(stats.raw(stats.final(clips[-1])), clips[-1])
    torch.testing.assert_close(stats.final(torch.stack(clips[-2:]))[1], stats.final(clips[-1]))


def test_statistics_of_images_alone_are_finite() -> None:
    stats = LatentStats.measure([torch.randn(4, 1, 2, 2) for _ in range(3)])
    assert stats.later_mean == stats.first_mean
    assert torch.isfinite(stats.final(torch.randn(4, 3, 2, 2))).all()


def test_a_checkpoint_gives_back_the_same_network_and_statistics(tmp_path) -> None:
    vae, pixels = random_vae(), random_pixels(5)
    vae.stats = LatentStats.measure([torch.randn(4, 3, 4, 4)])
    loaded = CausalVAE.load(vae.save(tmp_path / "vae", step=7))
    assert loaded.config == vae.config and loaded.stats == vae.stats
    assert json.loads((tmp_path / "vae/config.json").read_text())["step"] == 7
    assert torch.equal(loaded.encode(pixels)[0], vae.encode(pixels)[0])
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_equal_networks_are_equal_bytes(tmp_path) -> None:
    folders = [random_vae().save(tmp_path / name) for name in ("a", "b")]
    for name in ("config.json", "model.safetensors"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_folders_that_are_no_vae_are_refused_by_name(tmp_path) -> None:
    with pytest.raises(UserError, match="no config.json"):
        CausalVAE.load(tmp_path)
    (tmp_path / "config.json").write_text('{"model": "dit"}')
    with pytest.raises(UserError, match="'dit'"):
        CausalVAE.load(tmp_path)
    folder = random_vae().save(tmp_path / "torn")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(UserError, match="cannot be read"):
        CausalVAE.load(folder)
    weights.unlink()
    with pytest.raises(UserError, match="no model.safetensors"):
        CausalVAE.load(folder)
    other = random_vae().save(tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    for changed in ({"channels": [8, 16, 16]}, {"attention": True}):
        (other / "config.json").write_text(json.dumps(config | {"architecture": config["architecture"] | changed}))
        with pytest.raises(UserError, match="don't fit its config.json"):
            CausalVAE.load(other)


@pytest.mark.parametrize("name", ["AutoencoderKLWan", "AutoencoderKLCogVideoX"])
def test_networks_whose_tiles_would_not_be_exact_are_refused_by_name(tmp_path, name: str) -> None:
    """Attention in the middle of the one, group norms in the other."""
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": name, "z_dim": 16}))
    with pytest.raises(UserError, match=f"'{name}'.*that one's chunks and tiles are exact.*train_vae"):
        CausalVAE.load(tmp_path)


def test_frames_survive_the_way_to_pixels_and_back() -> None:
    frames = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 4, 64, 1).expand(2, 1, 4, 64, 3)
    pixels = to_pixels(frames)
    assert pixels.shape == (2, 3, 1, 4, 64) and pixels.min() == -1 and pixels.max() == 1
    assert torch.equal(to_frames(pixels), frames)
