"""What probing a remote file costs where its first frame is large, and that it tells the same as of a local one."""

from __future__ import annotations

import io
from dataclasses import replace
from fractions import Fraction
from functools import cache
from types import SimpleNamespace
from typing import cast

import av
import numpy as np
import pytest
from av.video.stream import VideoStream

from reelworks.errors import VideoError, VideoErrorKind
from reelworks.video import decode, open_video, probe
from reelworks.video.ebml import DEFAULT_DURATION
from reelworks.video.encode import encode_video
from reelworks.video.probe import hold_to
from reelworks.video.turned import aspect_in_parameters, picture_in_header
from tests.storage.tap import Tap
from tests.video.heavy import FPS, MBIT_S, SECONDS, heavy_video
from tests.video.painted import turned
from tests.video.stored import stored

KIB = 2**10
UNKNOWN = b"\x23\xe3\x8f"
"""An element that no version of Matroska has, in the place of one that is left out."""
FRAGMENTED = "+frag_keyframe+empty_moov+default_base_moof"
KINDS = {
    "moov-first": ("h264", "mp4", {"movflags": "+faststart"}),
    "moov-last": ("h264", "mov", {"movflags": "+write_colr"}),
    "mkv": ("h264", "mkv", {}),
    "webm": ("vp9", "webm", {}),
    "mkv-without-rate": ("h264", "mkv", {}),
    "webm-without-rate": ("vp9", "webm", {}),
    "fragments": ("h264", "mp4", {"movflags": FRAGMENTED}),
    "fragments-with-sidx": ("h264", "mp4", {"movflags": FRAGMENTED + "+global_sidx"}),
}


@cache
def heavy(kind: str, mbit_s: int, start_s: float = 0.0) -> bytes:
    data = heavy_video(*KINDS[kind], mbit_s, start_s)
    if kind.endswith("-without-rate"):
        data = data.replace(DEFAULT_DURATION, UNKNOWN, 1)
    assert len(data) * 8 > mbit_s * 1e6 * SECONDS
    return data


def cost(tap: Tap, uri: str) -> tuple[int, int]:
    """(requests, that for the size included; bytes) since the last call."""
    seen = [one for one in tap.requests if one.path == "/" + uri.removeprefix("s3://") and one.method != "PUT"]
    tap.clear()
    assert all(one.headers["If-Match"] for one in seen if one.method == "GET")
    return len(seen), sum(one.body_bytes for one in seen if one.method == "GET")


def limit(kind: str, data: bytes) -> tuple[int, int]:
    if kind.startswith(("mkv", "webm")):
        return 5, 1024 * KIB
    at = data.index(b"moov") - 4
    return 4, int.from_bytes(data[at : at + 4], "big") + 256 * KIB


@pytest.mark.parametrize("mbit_s", MBIT_S)
@pytest.mark.parametrize("kind", KINDS)
def test_a_probe_costs_no_more_for_a_high_bitrate_and_tells_the_same(
    tap: Tap, s3_server: str, kind: str, mbit_s: int
) -> None:
    data = heavy(kind, mbit_s)
    uri = stored(f"{kind}-{mbit_s}", data).uri
    tap.clear()
    found, expected = probe(uri), probe(data)
    spent = cost(tap, uri)
    assert all(one <= most for one, most in zip(spent, limit(kind, data), strict=True)), spent
    assert found == (replace(expected, duration_s=None) if kind == "fragments" else expected)
    assert not kind.startswith("fragments") or found.num_frames is None
    if mbit_s == max(MBIT_S):
        with open_video(uri) as reader:
            local, remote = decode(data, times_s=[0.0, 0.3]), reader.frames(times_s=[0.0, 0.3])
            assert np.array_equal(remote.pts, local.pts) and np.array_equal(remote.frames, local.frames)
            assert len(reader.frames(span_s=(0.25, 0.5))) == FPS // 4


def test_many_fragments_without_a_table_are_not_visited_one_by_one(tap: Tap, s3_server: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 128, 160, 3), np.uint8)
    single = {"movflags": FRAGMENTED.replace("frag_keyframe", "frag_every_frame")}
    data = heavy_video("h264", "mp4", single, 0, 0, noise)
    assert len(data) > 512 * KIB and data.count(b"moof") == len(noise)
    uri = stored("many-fragments", data).uri
    tap.clear()
    found = probe(uri)
    assert (found.num_frames, found.duration_s, found.fps) == (None, None, FPS)
    assert cost(tap, uri) <= limit("fragments", data)
    assert len(decode(uri, span_s=(0.5, 1.5))) == FPS


@pytest.mark.parametrize("matrix", [(0, 1, -1, 0), (-1, 0, 0, 1), (0, 1, 1, 0)])
def test_a_turned_film_is_known_by_its_header_where_its_first_frame_is_large(
    tap: Tap, s3_server: str, matrix: tuple[int, int, int, int]
) -> None:
    data = turned(heavy("moov-last", 64), matrix)
    uri = stored("turned", data).uri
    tap.clear()
    found = probe(uri)
    assert cost(tap, uri)[0] <= 4
    assert found == probe(data) and (found.rotation, found.mirrored) != (0, False)
    assert np.array_equal(decode(uri, times_s=[0.3]).frames, decode(data, times_s=[0.3]).frames)


@pytest.mark.parametrize("kind", ["mkv", "moov-last"])
def test_a_film_that_starts_late_says_so_though_few_frames_of_it_are_seen(s3_server: str, kind: str) -> None:
    data = heavy(kind, 64, 5.0)
    found = probe(stored(f"late-{kind}", data).uri)
    assert (found, found.start_s) == (probe(data), 5.0)


LARGE = {
    "h264": ("mkv", {"qp": "1", "preset": "ultrafast", "g": "2", "bf": "0"}),
    "vp9": ("mkv", {"crf": "1", "b": "0", "qmin": "1", "qmax": "1", "g": "1"}),
    "ffv1": ("mkv", {}),
    "mjpeg": ("mkv", {"qmin": "1", "qmax": "1"}),
}


@cache
def large(codec: str, pixel_aspect: Fraction) -> bytes:
    """Three frames of more than a megabyte each, from the fifth second on."""
    height, width = 1024, 1536
    noise = np.tile(np.random.default_rng(0).integers(0, 256, (1, height, width, 3), np.uint8), (3, 1, 1, 1))
    container, options = LARGE[codec]
    pts = [(5 * FPS + n) * 1000 for n in range(3)]
    data = encode_video(noise, FPS, codec, container, pixel_aspect=pixel_aspect, pts=pts, options=options)
    assert len(data) > 3 * 2**20
    return displayed(data, int(width * pixel_aspect), height) if codec in ("vp9", "ffv1") else data


def displayed(data: bytes, width: int, height: int) -> bytes:
    """A Matroska file that says how large its pictures are shown, where it said that it doesn't, and the colours."""
    unit, colours, void = b"\x54\xb2\x81\x04", b"\x55\xb0", b"\xec"
    at = data.index(unit + colours)
    stop = at + 7 + (data[at + 6] & 0x7F)
    size = b"\x54\xb0\x82" + width.to_bytes(2, "big") + b"\x54\xba\x82" + height.to_bytes(2, "big")
    rest = stop - at - len(size) - 2
    return data[:at] + size + void + bytes([0x80 | rest]) + bytes(rest) + data[stop:]


@pytest.mark.parametrize("rate", ["stated", "left out"])
@pytest.mark.parametrize("pixel_aspect", [Fraction(1), Fraction(4, 3)])
@pytest.mark.parametrize("codec", LARGE)
def test_matroska_whose_first_frame_is_larger_than_a_probe_may_cost_is_known_by_its_header(
    tap: Tap, s3_server: str, codec: str, pixel_aspect: Fraction, rate: str
) -> None:
    data = large(codec, pixel_aspect)
    data = data if rate == "stated" else data.replace(DEFAULT_DURATION, UNKNOWN, 1)
    uri = stored(f"large-{codec}-{pixel_aspect.numerator}-{rate[0]}", data).uri
    tap.clear()
    found = probe(uri)
    spent = cost(tap, uri)
    in_frames = codec == "mjpeg"  # the aspect of its pixels
    assert in_frames or all(one <= most for one, most in zip(spent, limit("mkv", data), strict=True)), spent
    assert (found, found.start_s, found.pixel_aspect) == (probe(data), 5.0, pixel_aspect)
    assert np.array_equal(decode(uri, times_s=[5.05]).frames, decode(data, times_s=[5.05]).frames)


@pytest.mark.parametrize("pixel_aspect", [None, Fraction(1), Fraction(4, 3), Fraction(17, 13)])
@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9"])
def test_the_aspect_of_pixels_is_in_the_parameters_of_some_codecs(codec: str, pixel_aspect: Fraction | None) -> None:
    frames = np.zeros((2, 64, 64, 3), np.uint8)
    data = encode_video(frames, FPS, codec, "mkv", pixel_aspect=pixel_aspect)
    with av.open(io.BytesIO(data)) as container:
        found = aspect_in_parameters(container.streams.video[0])
    assert found == (None if codec == "vp9" else pixel_aspect or found)
    if codec == "h264":
        damaged = data.replace(b"\x67\x64\x00", b"\x67\xff\xff", 1)  # a profile and a level that there are not
        with av.open(io.BytesIO(damaged)) as container:
            assert aspect_in_parameters(container.streams.video[0]) is None


@pytest.mark.parametrize("kind", ["moov-first", "mkv"])
def test_a_large_first_frame_that_does_not_decode_is_refused_at_the_latest_when_it_is_decoded(
    s3_server: str, kind: str
) -> None:
    data = bytearray(heavy(kind, 64))
    at = len(data) // (2 * FPS)
    data[at : at + 4096] = bytes(4096)
    uri = stored(f"damaged-{kind}", bytes(data)).uri
    with pytest.raises(VideoError) as remote, open_video(uri) as reader:
        with pytest.raises(VideoError) as first:
            reader.frames(times_s=[0.0])
        assert first.value.kind is VideoErrorKind.corrupt
        reader.frames(times_s=[0.0])
    with pytest.raises(VideoError) as local:
        probe(bytes(data))
    assert remote.value.kind is local.value.kind


def test_a_cut_film_is_truncated_by_its_index_though_nothing_of_it_is_decoded(tap: Tap, s3_server: str) -> None:
    cut = heavy("moov-first", 64)[: 2**22]
    uri = stored("cut", cut).uri
    tap.clear()
    found = probe(uri)
    assert cost(tap, uri)[0] <= 4
    assert (found, found.truncated) == (probe(cut), True)
    with pytest.raises(VideoError) as caught:
        decode(uri)
    assert caught.value.kind is VideoErrorKind.truncated


def test_a_film_without_its_index_is_refused_at_little_cost(tap: Tap, s3_server: str) -> None:
    uri = stored("headless", heavy("moov-last", 64)[: 2**22]).uri
    tap.clear()
    with pytest.raises(VideoError) as caught:
        probe(uri)
    assert caught.value.kind is VideoErrorKind.truncated
    assert cost(tap, uri)[0] <= 4


def test_a_first_frame_other_than_its_header_said_is_refused() -> None:
    seen = probe(heavy("mkv", min(MBIT_S)))
    hold_to(seen, replace(seen, fps=1.0))
    with pytest.raises(VideoError, match="The header says width 17, the first frame") as caught:
        hold_to(replace(seen, width=17), seen)
    assert caught.value.kind is VideoErrorKind.corrupt


def test_a_header_too_short_for_its_kind_is_no_crash() -> None:
    moov = b"\0\0\0\x10mvhd" + bytes(8)
    data = (len(moov) + 8).to_bytes(4, "big") + b"moov" + moov
    context = SimpleNamespace(width=8, height=8, colorspace=0, codec=SimpleNamespace(canonical_name="h264"))
    stream = SimpleNamespace(codec_context=context, id=1, sample_aspect_ratio=None)
    with pytest.raises(VideoError, match="doesn't tell how a frame looks"):
        picture_in_header(cast(VideoStream, stream), io.BytesIO(data), len(data))
