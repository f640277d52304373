"""Whatever a file does to its child: the caller gets frames or a typed error, and the next file is untouched."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from reelworks.errors import StorageError, StorageErrorKind, VideoError, VideoErrorKind
from reelworks.video import Limits, decode, iter_frames, open_video, probe
from reelworks.video.encode import encode_video
from reelworks.video.places import Place
from tests.video.faults import armed, marked
from tests.video.painted import paint, read_numbers


class RemoteFile(io.RawIOBase):
    """A file that only the worker can read, so that its child has to ask for every range."""

    def __init__(self, data: bytes, on_read: Callable[[int], None] = lambda offset: None):
        self._data = io.BytesIO(data)
        self.on_read = on_read
        self.bytes_read = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._data.seek(offset, whence)

    def tell(self) -> int:
        return self._data.tell()

    def read(self, count: int | None = -1) -> bytes:
        self.on_read(self._data.tell())
        piece = self._data.read(count)
        self.bytes_read += len(piece)
        return piece


@pytest.fixture(scope="module")
def large() -> bytes:
    """Forty seconds in key frames every second, above what is fetched whole."""
    noise = np.random.default_rng(0).integers(0, 40, (8, 128, 160, 3), np.uint8)
    frames = paint(240, 128, 160) // 2 + np.tile(noise, (30, 1, 1, 1))
    data = encode_video(frames, 6, "h264", "mp4", options={"preset": "ultrafast", "g": "6", "crf": "10"})
    assert len(data) > 2**20
    return data


def test_range_reads_fetch_little_more_than_the_clip(large: bytes) -> None:
    file = RemoteFile(large)
    with open_video(file) as reader:
        header_bytes = file.bytes_read
        clip = reader.frames(span_s=(20.0, 22.0))
    assert read_numbers(clip.frames) == list(range(120, 132))
    assert header_bytes < 256 * 1024
    assert file.bytes_read - header_bytes < 1.3 * len(large) * 3 / 40 + 256 * 1024


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV])
def test_killed_child_is_replaced_and_no_frame_is_lost(large: bytes, how: signal.Signals) -> None:
    file = RemoteFile(large)
    with open_video(file, Limits(whole_object_bytes=0)) as reader:
        victim = reader._child
        assert victim is not None

        def strike_once(offset: int) -> None:
            file.on_read = lambda offset: None
            os.kill(victim.pid, how)

        file.on_read = strike_once
        assert read_numbers(reader.frames(span_s=(10.0, 12.0)).frames) == list(range(60, 72))
        assert reader._child is not victim


def test_killed_child_in_the_middle_of_a_walk_loses_and_repeats_nothing(large: bytes) -> None:
    numbers: list[int] = []
    file = RemoteFile(large)
    with open_video(file, Limits(whole_object_bytes=0)) as reader:
        for batch in reader.batches(batch_bytes=40 * 128 * 160 * 3):
            if len(numbers) == 80:
                assert reader._child is not None
                os.kill(reader._child.pid, signal.SIGKILL)
            numbers += read_numbers(batch.frames)
    assert numbers == list(range(240))


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        (signal.SIGSEGV, VideoErrorKind.crashed),
        (signal.SIGXCPU, VideoErrorKind.timeout),
        (signal.SIGSTOP, VideoErrorKind.timeout),
    ],
)
def test_file_that_takes_every_child_with_it_is_typed(large: bytes, how: signal.Signals, kind: VideoErrorKind) -> None:
    file = RemoteFile(large)
    with open_video(file, Limits(whole_object_bytes=0, stall_s=1.5, attempts=2)) as reader:

        def strike(offset: int) -> None:
            assert reader._child is not None
            os.kill(reader._child.pid, how)

        file.on_read = strike
        with pytest.raises(VideoError) as caught:
            reader.frames(span_s=(30.0, 31.0))
    assert caught.value.kind is kind
    assert "2 attempts" in caught.value.message
    assert read_numbers(decode(large, times_s=[1.0]).frames) == [6]


def test_hostile_files_are_typed_within_their_deadlines_and_good_ones_go_on() -> None:
    good = encode_video(paint(6, 48, 64), 6)
    limits = Limits(stall_s=0.6, cpu_s=0.5, attempts=1, memory_bytes=256 * 2**20)
    ends = {
        "sleep@open": (VideoErrorKind.timeout, limits.stall_s),
        "spin@batches": (VideoErrorKind.timeout, limits.cpu_s + 1),  # the kernel counts CPU time in whole seconds
        "die@batches": (VideoErrorKind.crashed, 0.0),
        "abort@open": (VideoErrorKind.crashed, 0.0),
        "eat@batches": (VideoErrorKind.oversize, 0.0),
        "ask@open": (VideoErrorKind.oversize, 0.0),
    }
    with armed():
        assert read_numbers(decode(good).frames) == list(range(6))
        for fault, (kind, deadline_s) in ends.items():
            began = time.monotonic()
            with pytest.raises(VideoError) as caught:
                list(iter_frames(marked(good, *fault.split("@")), limits=limits))
            assert caught.value.kind is kind, fault
            assert time.monotonic() - began < deadline_s + 2, fault
            assert read_numbers(decode(good).frames) == list(range(6))


def test_children_are_forked_from_one_server_and_leave_no_zombie() -> None:
    data = encode_video(paint(6, 48, 64), 6)
    with armed(), open_video(data) as first, open_video(data) as second:
        children = [reader._child for reader in (first, second)]
        assert children[0] and children[1] and children[0].pid != children[1].pid
        servers = {int(Path(f"/proc/{child.pid}/stat").read_text().split()[3]) for child in children if child}
        assert len(servers) == 1
        os.kill(children[0].pid, signal.SIGKILL)
        assert read_numbers(first.frames().frames) == list(range(6))
        assert not Path(f"/proc/{children[0].pid}").exists()
        os.kill(servers.pop(), signal.SIGKILL)  # as a machine without memory does: children follow, the worker goes on
        assert read_numbers(decode(data).frames) == list(range(6))


def test_memory_eater_is_refused_not_fed() -> None:
    picture = encode_video(np.zeros((1, 3000, 4000, 3), np.uint8), 1, "png", "png")
    with pytest.raises(VideoError) as caught:
        decode(picture, limits=Limits(memory_bytes=16 * 2**20))
    assert caught.value.kind is VideoErrorKind.oversize


@pytest.mark.parametrize(
    "limits",
    [Limits(max_pixels=64 * 47), Limits(max_frames=11), Limits(max_duration_s=0.9), Limits(max_decoded_bytes=99)],
)
def test_limits_are_kept(limits: Limits) -> None:
    with pytest.raises(VideoError) as caught:
        decode(encode_video(paint(12, 48, 64), 12), limits=limits)
    assert caught.value.kind is VideoErrorKind.oversize


def test_storage_error_passes_and_is_no_statement_about_the_video(large: bytes) -> None:
    def fail(offset: int) -> None:
        raise StorageError(StorageErrorKind.changed, "s3://raw/a.mp4")

    file = RemoteFile(large)
    with open_video(file) as reader:
        file.on_read = fail
        with pytest.raises(StorageError):
            reader.frames(span_s=(30.0, 31.0))
    assert probe(large).num_frames == 240


def test_clips_are_decoded_while_the_source_is_walked_through(large: bytes) -> None:
    numbers = []
    for batch in iter_frames(large, batch_bytes=60 * 128 * 160 * 3):
        first_s, last_s = batch.pts_s[0], batch.pts_s[-1]
        assert read_numbers(decode(large, span_s=(first_s, last_s)).frames) == read_numbers(batch.frames)[:-1]
        numbers += read_numbers(batch.frames)
    assert numbers == list(range(240))


def test_walk_through_a_damaged_file_gives_what_is_good_and_then_says_why(large: bytes) -> None:
    batches = list(iter_frames(large[: len(large) // 2], batch_bytes=40 * 128 * 160 * 3))
    error = batches[-1].error
    assert error is not None and error.kind is VideoErrorKind.truncated
    numbers = [number for batch in batches for number in read_numbers(batch.frames)]
    assert numbers == list(range(error.good_frames or 0)) and len(numbers) > 80


def test_child_can_open_no_file_and_no_socket() -> None:
    program = """
import os, socket
from reelworks.video.confine import forbid_files_and_network
assert forbid_files_and_network()
refused = 0
for attempt in (lambda: open("/etc/hostname"), socket.socket, lambda: os.execv("/bin/true", ["x"])):
    try:
        attempt()
    except PermissionError:
        refused += 1
print(refused)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "3"


def test_child_ends_with_its_worker(large: bytes, tmp_path: Path) -> None:
    program = """
import os, signal, sys
from reelworks.video.sandbox import SandboxedReader
reader = SandboxedReader(open(sys.argv[1], "rb"))
print(reader._child.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    source = tmp_path / "large.mp4"
    source.write_bytes(large)
    command = [sys.executable, "-c", program, str(source)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == -signal.SIGKILL, done.stderr
    child = Path("/proc") / done.stdout.strip()
    deadline = time.monotonic() + 20
    while child.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not child.exists()


def test_a_chunk_of_very_small_frames_may_ask_for_very_many_of_them() -> None:
    """Tens of thousands of times are more than one packet to the child holds."""
    data = encode_video(np.zeros((24 * 60, 16, 16, 3), np.uint8), 24, "mpeg4", "avi", options={"g": "12"})
    places = [Place(*place) for batch in iter_frames(data) for place in batch.places.tolist()]
    times_s = (np.arange(40_000) * 60 / 40_000).tolist()
    with open_video(data) as reader:
        found = reader.frames(times_s=times_s, places=places)
    assert found.pts.tolist() == [int(time_s * 24 + 1e-6) for time_s in times_s]
