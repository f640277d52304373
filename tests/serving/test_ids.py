import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.ids import created_ms, is_video_id, video_id

times = st.integers(0, 2**48 - 1)
bits = st.integers(0, 2**80 - 1)


@given(times, bits, times, bits)
def test_a_newer_jobs_id_sorts_before_an_older_ones(first, first_bits, second, second_bits):
    if first < second:
        assert video_id(second, second_bits) < video_id(first, first_bits)


@given(times, bits)
def test_an_id_gives_its_time_back_and_is_known_as_an_id(time_ms, random_bits):
    name = video_id(time_ms, random_bits)
    assert created_ms(name) == time_ms
    assert is_video_id(name)
    assert len(name) == len("video_") + 26


@given(times, bits, bits)
def test_ids_of_one_millisecond_differ_where_their_random_bits_do(time_ms, first, second):
    assert (video_id(time_ms, first) == video_id(time_ms, second)) == (first == second)


@pytest.mark.parametrize("text", ["", "video_", "video_../keys/k", "video_" + "z" * 26, "video_" + "8" * 26, "a" * 32])
def test_text_that_could_reach_another_object_is_no_id(text):
    assert not is_video_id(text)


def test_a_time_outside_48_bits_is_refused():
    with pytest.raises(ValueError):
        video_id(2**48, 0)
