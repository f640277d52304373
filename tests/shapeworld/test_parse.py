import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelworks.shapeworld.attributes import Attributes, Background, Camera, Colour, Extra, Motion, Shape, Size
from reelworks.shapeworld.captions import describe, short_caption, still_caption
from reelworks.shapeworld.parse import AMBIGUOUS, parse

ATTRIBUTES = st.builds(
    Attributes,
    colour=st.sampled_from(Colour),
    shape=st.sampled_from(Shape),
    motion=st.sampled_from(Motion),
    size=st.sampled_from(Size),
    background=st.sampled_from(Background),
    camera=st.sampled_from(Camera),
    extra=st.sampled_from(Extra),
)


@given(ATTRIBUTES)
def test_a_descriptive_caption_says_every_attribute_and_only_the_truth(attributes: Attributes) -> None:
    truth = {name: value for name, value in attributes.as_dict().items() if (name, value) != ("extra", "none")}
    assert parse(describe(attributes)) == truth


@given(ATTRIBUTES, st.integers(0, 10**6))
def test_a_short_caption_says_colour_shape_and_motion_and_only_the_truth(attributes: Attributes, seed: int) -> None:
    found = parse(short_caption(attributes, np.random.default_rng(seed)))
    assert {"colour", "shape", "motion"} <= set(found) <= {"colour", "shape", "motion", "size"}
    assert found.items() <= attributes.as_dict().items()


@given(ATTRIBUTES, st.integers(0, 10**6))
def test_a_caption_of_a_picture_says_no_motion(attributes: Attributes, seed: int) -> None:
    found = parse(still_caption(attributes, np.random.default_rng(seed)))
    assert {"colour", "shape"} <= set(found) <= {"colour", "shape", "size"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("nothing of the kind", {}),
        ("A RED   circle\nmoves from the right to the left.", {"colour": "red", "shape": "circle", "motion": "left"}),
        ("two red circles fall", {"colour": "red", "shape": "circle", "motion": "down"}),
        ("a red circle never moves", {"colour": "red", "shape": "circle", "motion": "still"}),
        ("a round golden thing", {"colour": "yellow", "shape": "circle"}),
        ("a red or blue square", {"colour": AMBIGUOUS, "shape": "square"}),
        ("a square moves left and right", {"shape": "square", "motion": AMBIGUOUS}),
        ("The camera pans to the left.", {"camera": "pan"}),
        ("a disc rises. The camera is fixed.", {"shape": "circle", "motion": "up", "camera": "still"}),
        ("a wedge rests beside a second shape, a blue square", {"shape": "triangle", "motion": "still"}),
    ],
)
def test_wordings_that_no_template_has_are_understood(text: str, expected: dict[str, str]) -> None:
    assert {name: value for name, value in parse(text).items() if name != "extra"} == expected
