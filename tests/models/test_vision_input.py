"""reelworks.models.vision_input: patches equal to the official processor's, and to a plain reading of its order."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil, smart_resize

from reelworks.models.vision_input import (
    VisionLayout,
    load_layout,
    patchify,
    resized_shape,
    spread_frames,
    vision_input,
)

OFFICIAL = VisionLayout(14, 2, 2, 56 * 56, 28 * 28 * 1280, num_frames=8)
SMALL = VisionLayout(4, 2, 2, 8 * 8, 48 * 32, num_frames=4)


def moving_frames(num_frames: int, height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(height * width)
    return rng.integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("height, width", [(64, 64), (70, 100), (31, 90), (300, 200)])
@pytest.mark.parametrize("layout", [OFFICIAL, SMALL], ids=["qwen2-vl", "small"])
def test_an_image_gives_the_patches_of_the_official_processor(layout: VisionLayout, height: int, width: int) -> None:
    frame = moving_frames(1, height, width)
    official = Qwen2VLImageProcessorPil(
        patch_size=layout.patch_size,
        temporal_patch_size=layout.temporal_patch_size,
        merge_size=layout.merge_size,
        size={"shortest_edge": layout.min_pixels, "longest_edge": layout.max_pixels},
    )(images=Image.fromarray(frame[0]), return_tensors="np")
    ours = vision_input(frame, layout)
    assert list(ours.grid) == official["image_grid_thw"][0].tolist()
    np.testing.assert_allclose(ours.patches, official["pixel_values"], atol=2e-6)


def patches_one_by_one(pixels: np.ndarray, layout: VisionLayout) -> np.ndarray:
    """The order in words: time, merge blocks by row and column, the block's patches; inside C, frame, row, column."""
    num_frames, height, width, channels = pixels.shape
    p, tp, m = layout.patch_size, layout.temporal_patch_size, layout.merge_size
    out = []
    for t in range(num_frames // tp):
        for block_y in range(height // p // m):
            for block_x in range(width // p // m):
                for y in range(block_y * m, block_y * m + m):
                    for x in range(block_x * m, block_x * m + m):
                        values = []
                        for c in range(channels):
                            for frame in range(t * tp, t * tp + tp):
                                values += pixels[frame, y * p : y * p + p, x * p : x * p + p, c].ravel().tolist()
                        out.append(values)
    return np.asarray(out, np.float32)


@pytest.mark.parametrize("temporal", [1, 2, 4])
def test_video_patches_are_in_the_official_order(temporal: int) -> None:
    layout = VisionLayout(4, temporal, 2, 64, 4096, num_frames=4)
    pixels = np.random.default_rng(0).standard_normal((4, 16, 24, 3)).astype(np.float32)
    assert np.array_equal(patchify(pixels, layout), patches_one_by_one(pixels, layout))


@pytest.mark.parametrize("height, width", [(32, 48), (1080, 1920), (5, 7), (33, 100), (56, 3000)])
@pytest.mark.parametrize("layout", [OFFICIAL, SMALL], ids=["qwen2-vl", "small"])
def test_sizes_are_those_of_the_official_rule(layout: VisionLayout, height: int, width: int) -> None:
    factor = layout.patch_size * layout.merge_size
    expected = smart_resize(height, width, factor, layout.min_pixels, layout.max_pixels)
    # The official rule gives a side of 0 for a side under half a factor; ours keeps one block.
    assert resized_shape(height, width, layout) == expected or min(expected) == 0


def test_frames_are_spread_over_time_not_over_indices() -> None:
    frames = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1).repeat(3, axis=3)
    assert spread_frames(frames, None, 3)[:, 0, 0, 0].tolist() == [0, 2, 4]
    assert spread_frames(frames, [0.0, 0.1, 0.2, 0.3, 2.0], 3)[:, 0, 0, 0].tolist() == [0, 3, 4]
    assert spread_frames(frames[:1], None, 4)[:, 0, 0, 0].tolist() == [0, 0, 0, 0]
    with pytest.raises(ValueError, match="5 frames but 4 times"):
        spread_frames(frames, [0.0, 1.0, 2.0, 3.0], 2)


def test_an_odd_number_of_frames_is_filled_with_the_last_one() -> None:
    frames = moving_frames(3, 16, 16)
    filled = vision_input(np.concatenate([frames, frames[-1:]]), SMALL)
    assert vision_input(frames, SMALL).digest == filled.digest
    assert filled.grid == (2, 4, 4)


def test_digest_changes_with_a_pixel_and_with_the_order_of_frames() -> None:
    frames = moving_frames(4, 16, 16)
    changed = frames.copy()
    changed[0, 0, 0, 0] ^= 64
    digests = {vision_input(one, SMALL).digest for one in (frames, changed, frames[::-1].copy())}
    assert len(digests) == 3


def test_float_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="frames must be uint8"):
        vision_input(np.zeros((2, 16, 16, 3), np.float32), SMALL)


def test_layout_survives_saving_and_reads_the_names_of_production_folders(tmp_path: Path) -> None:
    SMALL.save(tmp_path)
    assert load_layout(tmp_path, 4, 2, 2) == SMALL
    old = {"min_pixels": 3136, "max_pixels": 12845056, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(old))
    layout = load_layout(tmp_path, 14, 2, 2)
    assert (layout.min_pixels, layout.max_pixels, layout.image_mean) == (3136, 12845056, (0.5, 0.5, 0.5))
