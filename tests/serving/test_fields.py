import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelworks.generate.request import Defaults, Limits, Strides
from serving.errors import ApiError
from serving.fields import cost, form_values, parse_create, settle

DEFAULTS = Defaults(width=48, height=32, seconds=1.5, fps=8, steps=8, guidance=3.0)
LIMITS = Limits(min_size_px=16, max_size_px=64, max_seconds=4, min_fps=4, max_fps=12, max_tokens=400)
STRIDES = Strides(4, 8, (1, 1, 1))


def settled(**values):
    return settle(parse_create({"prompt": "a red circle", **values}), DEFAULTS, LIMITS, STRIDES, seed=11)


def refused(values) -> ApiError:
    with pytest.raises(ApiError) as caught:
        parse_create(values)
    assert caught.value.status == 400
    return caught.value


def test_the_plain_create_takes_the_checkpoints_own_defaults():
    request = settled()
    assert (request.width, request.height, request.seconds, request.fps) == (48, 32, 1.5, 8)
    assert (request.steps, request.guidance, request.seed) == (8, 3.0, 11)


def test_text_from_a_form_and_numbers_from_json_give_the_same_request():
    form = settled(size="64x40", seconds="2", fps="12", seed="5", steps="4", guidance_scale="1.5")
    assert form == settled(size="64x40", seconds=2, fps=12, seed=5, steps=4, guidance_scale=1.5)
    assert (form.width, form.height, form.seconds, form.seed) == (64, 40, 2.0, 5)


def test_the_digest_of_fields_does_not_depend_on_the_wire():
    assert parse_create({"prompt": "x", "seconds": "2"}).digest == parse_create({"prompt": "x", "seconds": 2.0}).digest
    assert parse_create({"prompt": "x"}).digest != parse_create({"prompt": "x", "seconds": 2}).digest


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({}, "prompt"),
        ({"prompt": "  "}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": "x" * 32_001}, "prompt"),
        ({"prompt": "half a pair \ud800"}, "prompt"),
        ({"prompt": "nul \0"}, "prompt"),
        ({"prompt": "x", "size": "wide"}, "size"),
        ({"prompt": "x", "size": "48×32"}, "size"),
        ({"prompt": "x", "seconds": "long"}, "seconds"),
        ({"prompt": "x", "seconds": float("nan")}, "seconds"),
        ({"prompt": "x", "fps": True}, "fps"),
        ({"prompt": "x", "fps": 10**400}, "fps"),
        ({"prompt": "x", "seed": 1.5}, "seed"),
        ({"prompt": "x", "seed": "1e3"}, "seed"),
        ({"prompt": "x", "steps": []}, "steps"),
        ({"prompt": "x", "guidance_scale": {}}, "guidance_scale"),
        ({"prompt": "x", "model": 3}, "model"),
        ({"prompt": "x", "sise": "48x32"}, "sise"),
        ([], None),
        ("text", None),
    ],
)
def test_a_bad_field_is_refused_by_its_name(values, param):
    assert refused(values).param == param


def test_a_misspelt_field_is_answered_with_the_nearest_one():
    assert "'seconds'" in refused({"prompt": "x", "second": 4}).message


def test_an_ability_the_model_lacks_is_unsupported_in_every_spelling():
    assert refused({"prompt": "x", "input_reference": "data"}).code == "unsupported"
    values = form_values([("prompt", "x"), ("input_reference[image_url]", "https://example.com/a.png")])
    assert refused(values).code == "unsupported"


@pytest.mark.parametrize(
    ("values", "param", "named"),
    [
        ({"size": "720x1280"}, "size", "16–64"),
        ({"size": "64x64", "seconds": 4, "fps": 12}, "size", "400"),
        ({"seconds": 60}, "seconds", "0–4"),
        ({"seconds": 0}, "seconds", "more than 0"),
        ({"fps": 24}, "fps", "4–12"),
        ({"steps": 0}, "steps", "1–200"),
        ({"guidance_scale": 99}, "guidance_scale", "1–30"),
        ({"seed": -1}, "seed", "0–"),
    ],
)
def test_outside_the_checkpoints_limits_the_answer_names_them(values, param, named):
    with pytest.raises(ApiError) as caught:
        settled(**values)
    assert (caught.value.status, caught.value.param) == (400, param)
    assert named in caught.value.message


def test_a_field_given_twice_or_as_a_file_is_refused():
    with pytest.raises(ApiError):
        form_values([("prompt", "a"), ("prompt", "b")])
    with pytest.raises(ApiError):
        form_values([("prompt", object())])


def test_cost_is_tokens_times_steps():
    assert cost(settled(), STRIDES) == 4 * 4 * 6 * 8


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from(["prompt", "model", "size", "seconds", "fps", "seed", "guidance_scale", "steps", "other"])


@given(st.dictionaries(names, json_values) | json_values)
def test_any_json_gives_a_valid_request_or_a_400_and_never_another_error(values):
    try:
        fields = parse_create(values)
        request = settle(fields, DEFAULTS, LIMITS, STRIDES, seed=1)
    except ApiError as error:
        assert error.status == 400
    else:
        assert 1 <= request.num_frames <= 48
