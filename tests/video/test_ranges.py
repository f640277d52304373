"""What reading from a real S3 server costs, and that its errors are never taken for the video's."""

from __future__ import annotations

import numpy as np
import pytest

from reelworks import storage
from reelworks.errors import StorageError, StorageErrorKind
from reelworks.video import decode, iter_frames, open_video, probe
from reelworks.video.encode import encode_video
from tests.video.painted import paint, read_numbers


@pytest.fixture(scope="module")
def noisy() -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 60, (8, 176, 240, 3), np.uint8)
    return paint(240, 176, 240) // 2 + np.tile(noise, (30, 1, 1, 1))


@pytest.mark.parametrize(("container", "limit_bytes", "requests"), [("mp4", 300_000, 4), ("mkv", 2**20, 5)])
def test_probe_clip_and_sparse_frames_fetch_little(
    s3_server: str, noisy: np.ndarray, container: str, limit_bytes: int, requests: int
) -> None:
    data = encode_video(noisy, 6, "h264", container, options={"preset": "ultrafast", "g": "6", "crf": "8"})
    assert len(data) > 4 * 2**20
    uri = f"s3://raw/video/ranges.{container}"
    storage.delete(uri)
    storage.create_once(uri, data)
    with storage.open_ranged(uri) as file, open_video(file) as reader:
        assert reader.probe.fps == pytest.approx(6, rel=0.01)
        assert file.requests <= requests
        assert file.bytes_read <= limit_bytes
        before = file.bytes_read
        clip = reader.frames(span_s=(20.0, 22.0))
        assert read_numbers(clip.frames) == list(range(120, 132))
        assert file.bytes_read - before <= 1.3 * len(data) * 3 / 40 + 256 * 1024
        sparse = reader.frames(times_s=[5.0 * n + 0.1 for n in range(8)])
        assert read_numbers(sparse.frames) == [30 * n for n in range(8)]
    assert [len(batch) for batch in iter_frames(uri, size=(44, 60), batch_bytes=100 * 44 * 60 * 3)] == [100, 100, 40]
    assert read_numbers(decode(uri, times_s=[39.9]).frames) == [239]


def test_errors_of_storage_keep_their_kind(s3_server: str) -> None:
    with pytest.raises(StorageError) as caught:
        probe("s3://raw/video/nothing.mp4")
    assert caught.value.kind is StorageErrorKind.not_found
