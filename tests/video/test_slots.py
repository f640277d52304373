"""reelworks.video.slots: parts of AVI files that were jumped to have the frames and the times of a walk."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest
from av.packet import Packet

from reelworks import storage
from reelworks.video import open_video
from reelworks.video.encode import encode_video
from reelworks.video.reader import Reader
from reelworks.video.slots import picture_kinds
from tests.storage.tap import Tap
from tests.video.long import FRAMES, clip_bytes, long_video
from tests.video.painted import paint, read_numbers

FPS, SECONDS, GOP = 24, 20, 12
NO_CUTS = {"sc_threshold": "1000000000"}
CASES = {
    "mjpeg": ("mjpeg", {}),
    "ffv1": ("ffv1", {"g": str(GOP)}),
    "flv1": ("flv1", {"g": str(GOP)}),
    "mpeg4 without B-frames": ("mpeg4", {"g": str(GOP), "bf": "0"}),
    "mpeg4 with B-frames before key frames": ("mpeg4", {"g": str(GOP), "bf": "2", **NO_CUTS}),
    "mpeg4 with closed groups": ("mpeg4", {"g": str(GOP), "bf": "2", **NO_CUTS, "flags": "+cgop"}),
    "mpeg4 packed, closed groups": ("mpeg4", {"g": str(GOP), "bf": "1", **NO_CUTS, "flags": "+cgop"}),
    "mpeg1video": ("mpeg1video", {"g": str(GOP), "bf": "2", **NO_CUTS}),
    "mpeg2video": ("mpeg2video", {"g": str(GOP), "bf": "2", **NO_CUTS}),
}
WALKED = {
    "h264": ("h264", {"g": str(GOP), "bf": "2"}),
    "mpeg4 packed": ("mpeg4", {"g": str(GOP), "bf": "1", **NO_CUTS}),
}


class Counted(io.BytesIO):
    """A file that knows how many bytes were read of it."""

    read_bytes = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.read_bytes += len(data)
        return data


def film(name: str, height: int = 48, width: int = 64) -> bytes:
    codec, options = (CASES | WALKED)[name]
    noise = np.random.default_rng(0).integers(0, 60, (FPS, height, width, 3), np.uint8)
    frames = np.concatenate([paint(FPS, height, width, FPS * second) // 2 + noise for second in range(SECONDS)])
    data = encode_video(frames, FPS, codec, "avi", options=options)
    return packed(data) if "packed" in name else data


def packed(data: bytes) -> bytes:
    """The same MPEG-4 as DivX writes it: a B-frame in the packet of the frame it refers to, then an empty packet."""
    out = io.BytesIO()
    with av.open(io.BytesIO(data)) as source, av.open(out, "w", format="avi") as file:
        template = source.streams.video[0]
        stream = file.add_stream_from_template(template)
        found = [bytes(packet) for packet in source.demux(template) if packet.size]
        mark = found[0].index(b"\0\0\1\xb6")
        found[0] = found[0][:mark] + b"\0\0\1\xb2DivX503b1393p" + found[0][mark:]
        kinds = [picture_kinds(packet, "mpeg4") for packet in found]
        for number, content in enumerate(found):
            if kinds[number] == "B":
                content = b"\0\0\1\xb6\x50\x80\0\0"
            elif number + 1 < len(found) and kinds[number + 1] == "B":
                content += found[number + 1]
            packet = Packet(content)
            packet.pts = packet.dts = number
            packet.time_base, packet.stream, packet.is_keyframe = template.time_base, stream, kinds[number] == "I"
            file.mux(packet)
    return out.getvalue()


@pytest.mark.parametrize("name", [*CASES, *WALKED])
def test_spans_and_times_of_avi_are_those_of_a_walk_wherever_they_lie(name: str) -> None:
    data = film(name)
    with Reader(io.BytesIO(data)) as reader:
        walked = reader.frames()
    assert read_numbers(walked.frames) == [number % 256 for number in range(SECONDS * FPS)]
    np.testing.assert_allclose(walked.pts_s, np.arange(SECONDS * FPS) / FPS)
    draw = np.random.default_rng(1)
    with Reader(io.BytesIO(data), ordered=True) as reader:
        for first_s in [*draw.uniform(0, SECONDS, 12), 0.5, 10.0, SECONDS - 0.3]:
            found = reader.frames(span_s=(first_s, first_s + 1.3))
            inside = (walked.pts_s >= first_s) & (walked.pts_s < first_s + 1.3)
            assert found.pts.tolist() == walked.pts[inside].tolist()
            assert np.array_equal(found.frames, walked.frames[inside])
        times_s = np.append(draw.uniform(0, SECONDS, 12), [0, 2 * SECONDS])
        shown = np.searchsorted(walked.pts_s, times_s, "right") - 1
        found = reader.frames(times_s=times_s.tolist())
        assert found.pts.tolist() == walked.pts[shown].tolist()
        assert np.array_equal(found.frames, walked.frames[shown])


@pytest.mark.parametrize("name", CASES)
def test_a_late_part_of_an_avi_seen_whole_is_jumped_to(name: str) -> None:
    data = film(name, 96, 128)
    read = []
    for ordered in (False, True):
        file = Counted(data)
        with Reader(file, ordered=ordered) as reader:
            file.read_bytes = 0
            reader.frames(span_s=(SECONDS - 1.0, SECONDS - 0.5))
        read.append(file.read_bytes)
    assert read[0] > 0.8 * len(data) and read[1] < 0.2 * len(data)


def test_late_clips_and_sparse_frames_of_an_avi_cost_what_they_must(tap: Tap, s3_server: str) -> None:
    data, uri = long_video("avi", 40, codec="mpeg4"), "s3://raw/costs/film.avi"
    storage.delete(uri)
    storage.create_once(uri, data)
    with storage.open_ranged(uri) as file, open_video(file, ordered=True) as reader:
        index = len(data) - data.rindex(b"idx1")
        assert sum(one.body_bytes for one in tap.gets(uri)) <= index + 256 * 2**10
        for start_s, end_s in ((20.3, 22.3), (60.0, 70.0)):
            tap.clear()
            clip = reader.frames(span_s=(start_s, end_s))
            first, count = round(start_s * FPS + 0.3), round((end_s - start_s) * FPS)
            assert read_numbers(clip.frames) == [(first + number) % FRAMES for number in range(count)]
            cost = sum(one.body_bytes for one in tap.gets(uri))
            assert cost <= 1.3 * clip_bytes(data, start_s, end_s) + 256 * 2**10
            assert len(tap.gets(uri)) <= 2
        tap.clear()
        times_s = [2 * 40 * (number + 0.4) / 9 for number in range(8)]
        sparse = reader.frames(times_s=times_s)
        assert read_numbers(sparse.frames) == [int(time_s * FPS + 1e-6) % FRAMES for time_s in times_s]
        costs = [one.body_bytes for one in tap.gets(uri)]
        assert len(costs) <= 8 * 2 and sum(costs) <= 0.02 * 100e6  # of a film of 100 MB and more
    tap.clear()
    with storage.open_ranged(uri) as file, open_video(file, ordered=True) as reader:
        assert not tap.gets(uri), "the index is read once a process and source"
