import pytest
import torch

from reelworks.diffusion.philox import Purpose, normal, permutation, philox, stream, uniform

CPU = torch.device("cpu")
# Known answers of Random123 1.14, tests/kat_vectors, philox4x32 with 10 rounds.
KNOWN = [
    ([0] * 4, [0] * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_philox_gives_the_published_words(counter: list[int], key: list[int], words: str) -> None:
    found = philox(torch.tensor([counter]), torch.tensor([key]))[0].tolist()
    assert " ".join(f"{word:08x}" for word in found) == words


def test_streams_stay_what_they_are_or_no_run_can_be_resumed() -> None:
    assert stream(7, Purpose.noise, "clip", 3) == (3365598300, 2529673864, 1653073413, 1321230472)
    draws = normal([stream(7, Purpose.noise, "clip", 3)], [3], CPU)[0].tolist()
    assert draws == pytest.approx([1.634535, -0.4727425, 0.3111031], abs=1e-6)
    assert permutation(stream(7, Purpose.order, "", 0), 8) == [6, 2, 4, 0, 1, 3, 7, 5]


def test_a_clips_noise_does_not_depend_on_what_is_drawn_beside_it() -> None:
    streams = [stream(0, Purpose.noise, name, 0) for name in ("a", "b", "c")]
    together = normal(streams, [5, 9, 2], CPU)
    for key, size, drawn in zip(streams, [5, 9, 2], together, strict=True):
        assert torch.equal(drawn, normal([key], [size], CPU)[0])


def test_seed_purpose_clip_and_epoch_each_change_the_numbers() -> None:
    keys = [
        stream(0, Purpose.noise, "a", 0),
        stream(1, Purpose.noise, "a", 0),
        stream(0, Purpose.timestep, "a", 0),
        stream(0, Purpose.noise, "b", 0),
        stream(0, Purpose.noise, "a", 1),
    ]
    assert len(set(uniform(keys, CPU).tolist())) == len(keys)


def test_numbers_are_distributed_as_they_claim() -> None:
    drawn = normal([stream(0, Purpose.noise, "a", 0)], [100_000], CPU)[0]
    assert abs(float(drawn.mean())) < 0.02 and abs(float(drawn.std()) - 1) < 0.02
    assert abs(float((drawn[:-1] * drawn[1:]).mean())) < 0.02
    unit = uniform([stream(0, Purpose.timestep, str(i), 0) for i in range(4000)], CPU)
    assert 0 < float(unit.min()) and float(unit.max()) < 1 and abs(float(unit.mean()) - 0.5) < 0.02
