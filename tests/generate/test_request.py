from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelworks.errors import UserError
from reelworks.generate.request import Defaults, GenerationRequest, Limits, Strides, latent_shape, num_tokens, validate

STRIDES = Strides(time=4, space=8, patch=(1, 1, 1))
LIMITS = Limits(min_size_px=16, max_size_px=96, max_seconds=4.0, min_fps=4.0, max_fps=24.0, max_tokens=200)
REQUEST = GenerationRequest("a red circle", 48, 32, 1.6, 8.0)


@given(
    width=st.integers(1, 100),
    height=st.integers(1, 100),
    frames=st.integers(1, 60),
    fps=st.sampled_from([1.0, 8.0, 23.976, 24.0]),
)
def test_the_latents_cover_the_request_and_nothing_smaller_does(
    width: int, height: int, frames: int, fps: float
) -> None:
    request = GenerationRequest("", width, height, frames / fps, fps)
    assert request.num_frames == frames
    t, h, w = latent_shape(request, STRIDES)
    assert 4 * (t - 1) + 1 >= frames > 4 * (t - 2) + 1
    assert 8 * h >= height > 8 * (h - 1) and 8 * w >= width > 8 * (w - 1)


def test_patches_of_several_latents_are_filled() -> None:
    assert latent_shape(REQUEST, Strides(4, 8, (1, 2, 4))) == (4, 4, 8)
    assert num_tokens(REQUEST, Strides(4, 8, (1, 2, 4))) == 4 * 2 * 2


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"width": 8}, "width 8"),
        ({"height": 200}, "height 200"),
        ({"fps": 60.0}, "fps 60"),
        ({"seconds": 5.0}, "seconds 5"),
        ({"seconds": 0.0}, "seconds must be"),
        ({"seconds": float("nan")}, "seconds nan"),
        ({"steps": 0}, "steps 0"),
        ({"guidance": 0.5}, "guidance 0.5"),
        ({"seed": -1}, "seed -1"),
        ({"width": 96, "height": 96, "seconds": 4.0}, "tokens, more than 200"),
    ],
)
def test_what_the_model_was_not_trained_for_is_refused_with_its_limits(change: dict[str, float], named: str) -> None:
    validate(REQUEST, LIMITS, STRIDES)
    with pytest.raises(UserError, match=named) as caught:
        validate(replace(REQUEST, **change), LIMITS, STRIDES)  # type: ignore[arg-type]
    assert "16–96 px" in str(caught.value)


def test_what_is_not_asked_takes_the_checkpoints_defaults() -> None:
    defaults = Defaults(width=48, height=32, seconds=1.6, fps=8.0, steps=12, guidance=3.0)
    assert defaults.request("p", height=48, seed=5) == GenerationRequest("p", 48, 48, 1.6, 8.0, 5, 12, 3.0)
