"""Every file of a generated corpus: each returned frame carries the right number and time, or the error is typed."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from reelworks.errors import VideoError, VideoErrorKind
from reelworks.video import Frames, decode, probe
from reelworks.video.encode import encode_video
from tests.video import painted
from tests.video.painted import paint, read_numbers

FPS = 12
TICKS = 1024
"""Ticks of one frame in the MP4 files made here (time base 1/12288)."""

CODECS_IN_CONTAINERS = {
    "h264": ["mp4", "mov", "mkv", "avi", "ts", "flv", "mpg"],
    "hevc": ["mp4", "mkv", "ts"],
    "av1": ["mp4", "webm", "ivf"],
    "vp8": ["webm", "mkv", "ivf"],
    "vp9": ["webm", "mp4", "ivf"],
    "mpeg1video": ["mpg", "ts", "avi"],
    "mpeg2video": ["mpg", "ts", "mp4", "mkv"],
    "mpeg4": ["mp4", "avi", "mkv"],
    "flv1": ["flv"],
    "mjpeg": ["avi", "mov", "mkv"],
    "prores": ["mov"],
    "ffv1": ["mkv"],
    "png": ["mov"],
    "gif": ["gif"],
}
PAIRS = [(codec, container) for codec, containers in CODECS_IN_CONTAINERS.items() for container in containers]
COARSE_CLOCK = {"mkv": 1e-3, "webm": 1e-3, "flv": 1e-3, "gif": 1e-2}
"""Seconds to which a container rounds its timestamps."""


def h264(count: int = 60, height: int = 48, width: int = 64, container: str = "mp4", **more: object) -> bytes:
    options = {"g": "12", "bf": "2", "b-adapt": "0"}
    return encode_video(paint(count, height, width), FPS, "h264", container, options=options, **more)  # type: ignore[arg-type]


def check(frames: Frames, numbers: list[int], times_s: np.ndarray | None = None, within_s: float = 1e-9) -> None:
    assert read_numbers(frames.frames) == numbers
    assert np.all(np.diff(frames.pts_s) > 0)
    if times_s is not None:
        np.testing.assert_allclose(frames.pts_s, times_s, atol=within_s)


@pytest.mark.parametrize(("codec", "container"), PAIRS)
def test_frames_keep_number_and_time_in_every_codec_and_container(codec: str, container: str) -> None:
    source = encode_video(paint(30, 64, 80), FPS, codec, container)
    frames = decode(source)
    start_s = frames.pts_s[0]
    check(frames, list(range(30)), start_s + np.arange(30) / FPS, 1.01 * COARSE_CLOCK.get(container, 1e-4))
    described = probe(source)
    assert (described.height, described.width) == frames.frames.shape[1:3]
    assert described.codec == codec
    assert described.num_frames in (30, None)
    assert described.fps == pytest.approx(FPS, rel=0.05) or codec == "mpeg1video"  # MPEG-1 knows no 12 fps


@pytest.mark.parametrize("container", ["mpg", "ts", "avi"])
def test_the_rate_of_mpeg_1_is_of_frames_and_not_of_fields(container: str) -> None:
    assert probe(encode_video(paint(48, 64, 80), 24, "mpeg1video", container)).fps == pytest.approx(24, rel=1e-3)


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts", "flv", "avi"])
@pytest.mark.parametrize("span_s", [(0.5, 1.5), (2.0, 3.0), (4.5, 9.0)])
def test_span_is_half_open_and_by_time(container: str, span_s: tuple[float, float]) -> None:
    source = h264(container=container)
    whole = decode(source)
    part = decode(source, span_s=span_s)
    inside = (whole.pts_s >= span_s[0]) & (whole.pts_s < span_s[1])
    check(part, np.flatnonzero(inside).tolist(), whole.pts_s[inside])
    np.testing.assert_array_equal(part.frames, whole.frames[inside])


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts"])
def test_times_give_the_frame_shown_then(container: str) -> None:
    source = h264(container=container)
    start_s = decode(source).pts_s[0]
    times_s = [start_s + offset for offset in (4.91, 0.0, 0.09, 2.49, 2.51, 100.0, 2.49)]
    frames = decode(source, times_s=[start_s - 1, *times_s])
    assert read_numbers(frames.frames) == [0, 58, 0, 1, 29, 30, 59, 29]


@pytest.mark.parametrize(("height", "width"), [(33, 47), (36, 16), (48, 24), (36, 72), (50, 322), (181, 321)])
@pytest.mark.parametrize("codec", ["h264", "vp9", "mpeg4"])
def test_odd_and_narrow_sizes_keep_their_frames(codec: str, height: int, width: int) -> None:
    source = encode_video(paint(12, height, width), FPS, codec, "mkv")
    frames = decode(source)
    assert frames.frames.shape == (12, height, width, 3)
    if width >= 24:
        check(frames, list(range(12)))


@pytest.mark.parametrize(
    ("matrix", "undo"),
    [
        ((0, 1, -1, 0), lambda seen: np.rot90(seen, 1, (1, 2))),  # 90 degrees clockwise, as phones write it
        ((-1, 0, 0, -1), lambda seen: np.rot90(seen, 2, (1, 2))),
        ((0, -1, 1, 0), lambda seen: np.rot90(seen, -1, (1, 2))),
        ((-1, 0, 0, 1), lambda seen: seen[:, :, ::-1]),
        ((1, 0, 0, -1), lambda seen: seen[:, ::-1]),
        ((0, 1, 1, 0), lambda seen: seen.transpose(0, 2, 1, 3)),
        ((0, -1, -1, 0), lambda seen: np.rot90(seen, 2, (1, 2)).transpose(0, 2, 1, 3)),
    ],
)
def test_display_matrix_is_applied_once(
    matrix: tuple[int, int, int, int], undo: Callable[[np.ndarray], np.ndarray]
) -> None:
    plain = h264(12)
    seen = decode(painted.turned(plain, matrix))
    assert seen.frames.shape[1:3] == ((64, 48) if matrix[0] == 0 else (48, 64))
    np.testing.assert_array_equal(undo(seen.frames), decode(plain).frames)


def test_turned_file_keeps_aspect_of_its_pixels() -> None:
    source = painted.turned(h264(12, pixel_aspect=Fraction(4, 3)), (0, 1, -1, 0))
    described = probe(source)
    assert (described.height, described.width, described.rotation) == (85, 48, 270)
    assert decode(source).frames.shape[1:3] == (85, 48)
    assert decode(source, size=(40, 20)).frames.shape[1:3] == (40, 20)


@pytest.mark.parametrize(("container", "clock_s"), [("mp4", 1e-9), ("mkv", 1e-3)])
def test_variable_frame_rate_keeps_every_time(container: str, clock_s: float) -> None:
    pts = np.cumsum(np.random.default_rng(5).integers(400, 2500, 60)) - 400
    pts -= pts[0]
    source = encode_video(paint(60, 48, 64), FPS, "h264", container, pts=pts.tolist())
    check(decode(source), list(range(60)), pts / (1000 * FPS), clock_s)
    assert probe(source).variable_frame_rate in (True, None)
    part = decode(source, span_s=(2.0, 4.0))
    assert read_numbers(part.frames) == np.flatnonzero((pts >= 24000 - 6) & (pts < 48000 - 6)).tolist()


@pytest.mark.parametrize(
    ("hide", "keep_ms", "numbers"),
    [(20, None, range(20, 60)), (0, 2500, range(30)), (20, 1000, range(20, 32)), (12, None, range(12, 60))],
)
def test_edit_list_hides_what_players_hide(hide: int, keep_ms: int | None, numbers: range) -> None:
    frames = decode(painted.edited(h264(), hide * TICKS, keep_ms))
    check(frames, list(numbers), np.arange(len(numbers)) / FPS)


@pytest.mark.parametrize(
    ("codec", "pixel_format"),
    [("h264", "yuv444p"), ("h264", "yuv420p10le"), ("hevc", "yuv420p10le"), ("h264", "yuv422p"), ("vp9", "yuv444p")],
)
def test_other_pixel_formats_keep_their_frames(codec: str, pixel_format: str) -> None:
    check(decode(encode_video(paint(12, 48, 64), FPS, codec, "mkv", pixel_format)), list(range(12)))


def test_fragmented_mp4_keeps_its_frames() -> None:
    source = h264(muxer_options={"movflags": "frag_keyframe+empty_moov"})
    check(decode(source), list(range(60)))
    assert probe(source).num_frames is None
    assert read_numbers(decode(source, span_s=(2.0, 3.0)).frames) == list(range(22, 34))  # B-frames delay the start


def test_stream_that_starts_between_key_frames_gives_only_whole_frames() -> None:
    source = h264(container="ts")
    frames = decode(source[188 * 12 :])
    numbers = read_numbers(frames.frames)
    assert numbers == list(range(numbers[0], 60))
    assert numbers[0] % 12 == 0 and 0 < numbers[0] < 60


@pytest.mark.parametrize("container", ["mp4", "mkv", "avi", "flv"])
@pytest.mark.parametrize("share", [0.5, 0.8])
def test_truncated_file_says_so_and_gives_its_good_prefix(container: str, share: float) -> None:
    source = encode_video(paint(60, 120, 160), FPS, "mpeg4" if container == "avi" else "h264", container)
    cut = source[: int(len(source) * share)]
    with pytest.raises(VideoError) as caught:
        decode(cut)
    assert caught.value.kind is VideoErrorKind.truncated
    good = caught.value.good_frames
    assert good is not None and 0 <= good < 60
    if good:
        prefix = decode(cut, partial=True)
        assert read_numbers(prefix.frames) == list(range(good))
        assert prefix.error is not None and prefix.error.kind is VideoErrorKind.truncated


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_span_that_reaches_into_the_missing_part_says_so(container: str) -> None:
    source = h264(height=120, width=160, container=container)
    cut = source[: int(len(source) * 0.8)]
    good = len(decode(cut, partial=True))
    assert 24 < good < 60
    before_s, after_s = (good - 15.3) / 12, (good - 3.3) / 12  # a key frame lies between the start and the first
    assert read_numbers(decode(cut, span_s=(before_s, after_s)).frames) == list(range(good - 15, good - 3))
    with pytest.raises(VideoError) as caught:
        decode(cut, span_s=(before_s, 5.0))
    assert caught.value.kind is VideoErrorKind.truncated
    part = decode(cut, span_s=(before_s, 5.0), partial=True)
    assert part.error is not None and part.error.kind is VideoErrorKind.truncated
    assert read_numbers(part.frames) == list(range(good - 15, good))
    times_s = [before_s + 0.05, (good - 0.7) / 12]
    assert read_numbers(decode(cut, times_s=times_s, partial=True).frames) == [good - 15, good - 1]
    with pytest.raises(VideoError):
        decode(cut, times_s=[before_s, 4.9])


def resolution_change() -> bytes:
    first, second = h264(24, container="ts"), bytearray(h264(24, 96, 128, container="ts"))
    last = {first[at + 1] << 8 & 0x1F00 | first[at + 2]: first[at + 3] & 15 for at in range(0, len(first), 188)}
    for at in range(0, len(second), 188):  # go on counting each stream's packets, so that none seems lost
        stream = second[at + 1] << 8 & 0x1F00 | second[at + 2]
        second[at + 3] = second[at + 3] & 0xF0 | (second[at + 3] + last.get(stream, 0) + 1) & 15
    return first + bytes(second)


def audio_only() -> bytes:
    import io

    import av

    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as file:
        stream = file.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return out.getvalue()


def emptied_samples(mp4: bytes, kept: int) -> bytes:
    data = bytearray(mp4)
    sizes_at = data.index(b"stsz") + 16
    data[sizes_at + 4 * kept : sizes_at + 4 * 60] = bytes(4 * (60 - kept))
    return bytes(data)


ENCRYPTION = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "0" * 32, "encryption_kid": "1" * 32}

HOSTILE: dict[str, tuple[Callable[[], bytes], VideoErrorKind]] = {
    "no bytes": (lambda: b"", VideoErrorKind.empty),
    "text": (lambda: b"this is no video\n" * 100, VideoErrorKind.not_video),
    "a page": (lambda: b"<!DOCTYPE html><html><body>404</body></html>", VideoErrorKind.not_video),
    "an S3 error": (lambda: b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>', VideoErrorKind.not_video),
    "ffconcat": (lambda: b"ffconcat version 1.0\nfile '/etc/hostname'\n", VideoErrorKind.not_video),
    "playlist": (lambda: b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1/a.ts\n", VideoErrorKind.not_video),
    "session description": (lambda: b"v=0\r\nm=video 5004 RTP/AVP 96\r\n", VideoErrorKind.not_video),
    "noise": (lambda: np.random.default_rng(1).bytes(20000), VideoErrorKind.not_video),
    "zeros": (lambda: bytes(20000), VideoErrorKind.not_video),
    "archive": (lambda: b"PK\x03\x04" + bytes(100), VideoErrorKind.not_video),
    "magic only": (lambda: b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom", VideoErrorKind.corrupt),
    "moov is missing": (lambda: h264(muxer_options={"movflags": "+disable_chpl"})[:3000], VideoErrorKind.truncated),
    "EBML then noise": (lambda: b"\x1aE\xdf\xa3" + np.random.default_rng(2).bytes(5000), VideoErrorKind.corrupt),
    "sound only": (audio_only, VideoErrorKind.no_video_stream),
    "overwritten samples": (lambda: painted.without_samples(h264(height=120, width=160), 30), VideoErrorKind.corrupt),
    "empty samples": (lambda: emptied_samples(h264(), 40), VideoErrorKind.count_mismatch),
    "change of size": (resolution_change, VideoErrorKind.resolution_change),
    "cut JPEG": (lambda: encode_video(paint(1, 64, 64), 1, "mjpeg", "jpg")[:150], VideoErrorKind.truncated),
    "encrypted": (lambda: h264(muxer_options=ENCRYPTION), VideoErrorKind.encrypted),
    "codec off the list": (lambda: h264().replace(b"avc1", b"SVQ3"), VideoErrorKind.unsupported_codec),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_ends_in_its_typed_error(name: str) -> None:
    make, kind = HOSTILE[name]
    with pytest.raises(VideoError) as caught:
        decode(make())
    assert caught.value.kind is kind, str(caught.value)
    assert len(caught.value.message) > 10


@pytest.mark.parametrize(("codec", "container"), [("png", "png"), ("mjpeg", "jpg")])
def test_image_is_a_video_of_one_frame(codec: str, container: str) -> None:
    source = encode_video(paint(1, 48, 64, first=77), 1, codec, container)
    check(decode(source), [77], np.zeros(1))
    assert probe(source).is_still and probe(source).num_frames == 1
