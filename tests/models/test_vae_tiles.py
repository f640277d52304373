"""Encoding in passes: tiles, temporal chunks and batches that give what the whole clip gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reelworks.models import vae_tiles
from reelworks.models.vae import CausalVAE, VAEConfig, to_pixels
from reelworks.models.vae_tiles import clips_a_pass, encode_frames, halo_latents, tiles
from tests.models.test_vae import TINY, changed, random_vae

CONFIGS = {
    "tiny": TINY,
    "standard": VAEConfig(),
    "fine": changed(
        patch_px=1,
        channels=(4, 4, 8, 8),
        encoder_blocks=(0, 1, 0, 1),
        decoder_blocks=(0, 0, 0, 0),
        temporal=(False, True, True),
    ),
}


def random_frames(frames: int, height: int, width: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), np.uint8)


def whole(vae: CausalVAE, clips: list[np.ndarray]) -> torch.Tensor:
    return vae.encode(to_pixels(torch.from_numpy(np.stack(clips))))[0]


def pixels_seen(vae: CausalVAE, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes (B, C, T, H, W) that the encoder is given from now on."""
    shapes: list[tuple[int, ...]] = []
    encode = vae.encode

    def noted(pixels: torch.Tensor, cache: Any = None) -> Any:
        shapes.append(tuple(pixels.shape))
        return encode(pixels, cache)

    monkeypatch.setattr(vae, "encode", noted)
    return shapes


@settings(max_examples=20, deadline=None)
@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    latents=st.integers(1, 4),
    chunk=st.integers(1, 3),
    most=st.integers(1, 80),
    clips=st.integers(1, 2),
)
def test_tiles_in_chunks_give_what_the_whole_gives(
    rows: int, columns: int, latents: int, chunk: int, most: int, clips: int
) -> None:
    vae = random_vae(seed=rows)
    batch = [random_frames(4 * latents - 3, 8 * rows, 8 * columns, seed) for seed in range(clips)]
    frames = min(4 * latents - 3, 4 * chunk)
    found = encode_frames(vae, batch, chunk, most * 64 * frames * clips)
    expected = whole(vae, batch)
    scale = max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(found, expected, atol=1e-5 * scale, rtol=0)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_halo_is_as_wide_as_the_network_looks_and_one_latent_less_is_too_narrow(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CONFIGS[name]
    vae, clip = random_vae(config), random_frames(5, 8 * 11, 8 * 13)
    halo, expected = halo_latents(config), whole(vae, [clip])
    assert len(tiles(11, 13, halo, 90)) > 1
    tiled = encode_frames(vae, [clip], 1, 90 * 64 * 4)
    scale = max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(tiled, expected, atol=1e-5 * scale, rtol=0)
    monkeypatch.setattr(vae_tiles, "halo_latents", lambda config: halo - 1)
    narrow = encode_frames(vae, [clip], 1, 90 * 64 * 4)
    assert float((narrow - expected).abs().max()) > 1e-4 * scale


def test_a_frame_that_fits_is_encoded_bit_for_bit_as_without_tiles() -> None:
    vae, clip = random_vae(), random_frames(13, 40, 56)
    before = vae.encode_chunks(to_pixels(torch.from_numpy(clip)[None]), 2)
    assert torch.equal(encode_frames(vae, [clip], 2, 8 * 40 * 56), before)


@pytest.mark.parametrize("size", [(8, 8), (8, 400), (232, 136), (128, 128), (136, 248)])
@pytest.mark.parametrize("most", [1, 49, 64, 150])
def test_tiles_cover_a_frame_once_and_depend_on_its_size_alone(size: tuple[int, int], most: int) -> None:
    rows, columns = size[0] // 8, size[1] // 8
    found = tiles(rows, columns, 2, most)
    assert found == tiles(rows, columns, 2, most)
    covered = np.zeros((rows, columns), int)
    for row, column in found:
        covered[row.place, column.place] += 1
        for cut, side in ((row, rows), (column, columns)):
            assert cut.seen_start == max(0, cut.start - 2) and cut.seen_stop == min(side, cut.stop + 2)
        seen = (row.seen_stop - row.seen_start) * (column.seen_stop - column.seen_start)
        assert seen <= max(most, 25)  # a latent and its halo
    assert (covered == 1).all()
    assert len(found) == 1 or rows * columns > most


def test_no_pass_takes_more_pixels_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    vae, limit = random_vae(), 1 << 16
    clips = [random_frames(17, 264, 152, seed) for seed in range(2)]
    assert clips_a_pass(clips[0].shape, 2, limit) == 1 and clips_a_pass((17, 64, 64, 3), 2, limit) == 2
    shapes = pixels_seen(vae, monkeypatch)
    encode_frames(vae, clips[:1], 2, limit)
    assert max(b * t * h * w for b, _, t, h, w in shapes) <= limit
    assert [shape[2] for shape in shapes] == [1, 4, 4, 4, 4] * (len(shapes) // 5)  # each tile through all its frames
    shapes.clear()
    encode_frames(vae, clips[:1], 3, 8 * 264 * 152)
    assert {shape[3:] for shape in shapes} == {(264, 152)}  # less time first: it costs nothing
    assert [shape[2] for shape in shapes] == [5, 8, 4]
    shapes.clear()
    encode_frames(vae, [random_frames(5, 64, 48)], 1, 10)
    halo = 8 * (1 + 2 * halo_latents(vae.config))
    assert max(h * w for *_, h, w in shapes) <= halo**2
