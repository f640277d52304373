"""What reading costs, counted where it passes the wire to a real S3 server, and that its errors keep their kind."""

from __future__ import annotations

from itertools import repeat

import numpy as np
import pytest

from reelworks import storage
from reelworks.errors import StorageError, StorageErrorKind
from reelworks.video import Limits, decode, iter_frames, open_video, probe
from reelworks.video.encode import encode_video
from tests.storage.tap import Tap
from tests.video.long import FPS, FRAMES, clip_bytes, long_video
from tests.video.many import many_frames
from tests.video.painted import paint, read_numbers
from tests.video.stored import stored

KIB = 2**10
# Two films are above 100 MB, where sparse frames have a bound; the other has the structure of one of them at less cost.
REPEATS = {"mov": 125, "mp4": 40, "mkv": 124}
# By container: what a probe may fetch beyond the index, and with how many requests.
PROBE = {"mov": (256 * KIB, 4), "mp4": (256 * KIB, 4), "mkv": (1024 * KIB, 5)}


@pytest.fixture(scope="module", params=["mov", "mp4", "mkv"])
def film(request: pytest.FixtureRequest, s3_server: str) -> tuple[str, str, bytes]:
    """Container, address and bytes of a film: MOV with its index behind, MP4 with it in front, MKV."""
    container = str(request.param)
    data = long_video(container, REPEATS[container], index_first=container == "mp4")
    return container, stored(f"film.{container}", data).uri, data


def fetched(tap: Tap, uri: str) -> tuple[int, int]:
    """(requests, bytes) since the last call; each request was bound to the object's version."""
    seen = tap.gets(uri)
    assert all(one.status == 206 and one.headers["If-Match"] and one.headers["Range"] for one in seen)
    tap.clear()
    return len(seen), sum(one.body_bytes for one in seen)


def touches(content_range: str, start: int, stop: int) -> bool:
    first, last = content_range.removeprefix("bytes=").split("-")
    return int(first) < stop and int(last) >= start


def index_bytes(container: str, data: bytes) -> int:
    """Length of what tells where the frames are: an MP4's moov, in Matroska what stands behind the pictures."""
    if container == "mkv":
        return len(data) - data.rindex(b"\x1c\x53\xbb\x6b")
    at = data.index(b"moov") - 4
    return int.from_bytes(data[at : at + 4], "big")


def test_probe_clip_and_sparse_frames_cost_what_they_must(tap: Tap, film: tuple[str, str, bytes]) -> None:
    container, uri, data = film
    index, seconds = index_bytes(container, data), REPEATS[container] * FRAMES / FPS
    with storage.open_ranged(uri) as file, open_video(file) as reader:
        requests, cost = fetched(tap, uri)
        beyond, limit = PROBE[container]
        assert (cost <= beyond + (index if container != "mkv" else 0), requests <= limit) == (True, True), (cost, index)
        reader.frames(times_s=[3.0])
        fetched(tap, uri)  # Matroska's index is read by the first seek
        for start_s, end_s in ((20.3, 22.3), (40.0, 50.0)):
            clip = reader.frames(span_s=(start_s, end_s))
            first, count = round(start_s * FPS + 0.3), round((end_s - start_s) * FPS)
            assert read_numbers(clip.frames) == [(first + n) % FRAMES for n in range(count)]
            requests, cost = fetched(tap, uri)
            assert cost <= 1.3 * clip_bytes(data, start_s, end_s) + 256 * KIB
            assert requests <= (2 if container != "mkv" else 16)
        times_s = [seconds * (n + 0.4) / 9 for n in range(8)]
        sparse = reader.frames(times_s=times_s)
        assert read_numbers(sparse.frames) == [int(time_s * FPS + 1e-6) % FRAMES for time_s in times_s]
        requests, cost = fetched(tap, uri)
        assert requests <= (8 if container != "mkv" else 8 * 3)
        if container != "mp4":
            assert len(data) >= 100e6 and cost <= 0.02 * len(data)


def test_index_is_read_once_a_process_and_source(tap: Tap, film: tuple[str, str, bytes]) -> None:
    container, uri, data = film
    mark = b"\x1c\x53\xbb\x6b" if container == "mkv" else b"moov"
    start = data.rindex(mark)
    decode(uri, times_s=[5.1])
    first = [one.headers["Range"] for one in tap.gets(uri)]
    fetched(tap, uri)
    frames = decode(uri, times_s=[9.1])
    assert read_numbers(frames.frames) == [int(9.1 * FPS) % FRAMES]
    second = [one.headers["Range"] for one in tap.gets(uri)]
    assert not [one for one in second if touches(one, start, start + index_bytes(container, data))], (first, second)
    assert not [one for one in second if touches(one, 0, 4096)]


@pytest.mark.parametrize("index_first", [True, False])
def test_an_index_of_more_than_8_mib_costs_one_request_more_for_each_further_8_mib(
    tap: Tap, s3_server: str, index_first: bool
) -> None:
    data, count = many_frames(9 * 2**20, index_first=index_first)
    uri = stored(f"many-{index_first}.mp4", data).uri
    index = index_bytes("mp4", data)
    with storage.open_ranged(uri) as file, open_video(file) as reader:
        assert (reader.probe.num_frames, index > 9 * 2**20) == (count, True)
        requests, cost = fetched(tap, uri)
        assert (requests <= 4 + 1, cost <= index + 256 * KIB) == (True, True), (requests, cost)
        late = reader.frames(times_s=[count / FPS - 1.2])
        assert read_numbers(late.frames) == [(count - 29) % FRAMES]
    fetched(tap, uri)
    assert probe(uri).num_frames == count
    assert fetched(tap, uri)[1] == 0, "the index is read once a process and source"


def test_first_frame_and_a_late_one_of_a_matroska_file_do_not_fetch_what_lies_between(tap: Tap, s3_server: str) -> None:
    data = long_video("mkv", 20)
    uri = stored("between.mkv", data).uri
    frames = decode(uri, times_s=[0.0, 30.1])
    assert read_numbers(frames.frames) == [0, int(30.1 * FPS) % FRAMES]
    assert fetched(tap, uri)[1] < len(data) / 8


def test_a_walk_takes_few_requests_and_fetches_nothing_twice(tap: Tap, s3_server: str) -> None:
    data = long_video("mp4", 24)
    uri = stored("walk.mp4", data).uri
    assert sum(len(batch) for batch in iter_frames(uri, size=(24, 32))) == 24 * FRAMES
    requests, cost = fetched(tap, uri)
    assert requests <= 6 and cost <= len(data) + 64 * KIB


@pytest.mark.parametrize("codec", ["h264", "vp9"])
def test_small_object_is_fetched_whole_in_one_request(tap: Tap, s3_server: str, codec: str) -> None:
    """Where the whole of it is decoded; decord takes its small frames of VP9."""
    noise = np.random.default_rng(0).integers(0, 60, (96, 64, 64, 3), np.uint8)
    data = encode_video(paint(96, 64, 64) // 2 + noise, 24, codec, "mkv", options={"crf": "4"})
    uri = stored(f"small.{codec}.mkv", data).uri
    assert len(data) > 256 * KIB
    frames = decode(uri)
    assert frames.decoder == ("decord" if codec == "vp9" else "pyav")
    assert read_numbers(frames.frames) == list(range(96))
    assert fetched(tap, uri) == (1, len(data))
    decode(uri, limits=Limits(whole_object_bytes=len(data) - 1))
    assert fetched(tap, uri)[0] > 1


def test_object_overwritten_between_two_reads_is_refused_by_the_server(tap: Tap, s3_server: str) -> None:
    data = long_video("mkv", 4)
    uri, etag = stored("changing.mkv", data)
    with storage.open_ranged(uri) as file, open_video(file) as reader:
        storage.swap(uri, etag, data[::-1])
        with pytest.raises(StorageError) as caught:
            reader.frames(span_s=(6.0, 7.0))
    assert caught.value.kind is StorageErrorKind.changed
    assert tap.gets(uri)[-1].status == 412


def test_errors_of_storage_keep_their_kind_and_the_next_source_decodes(tap: Tap, s3_server: str) -> None:
    with pytest.raises(StorageError) as caught:
        probe("s3://raw/video/nothing.mp4")
    assert caught.value.kind is StorageErrorKind.not_found
    data = long_video("mp4", 4)
    uri = stored("spoiled.mp4", data).uri
    for spoiled, kind in (("403", StorageErrorKind.access_denied), ("cut", StorageErrorKind.storage)):
        with storage.open_ranged(uri) as file, open_video(file) as reader:
            tap.spoil = repeat(spoiled)
            with pytest.raises(StorageError) as caught:
                reader.frames(span_s=(4.0, 5.0))
        tap.spoil = iter(["cut"])
        assert caught.value.kind is kind
        assert read_numbers(decode(uri, span_s=(4.0, 5.0)).frames) == list(range(FPS)), "one cut line is healed"
