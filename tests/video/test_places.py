"""reelworks.video.places: parts that were jumped to have the frames and the times of a walk, and cost less."""

from __future__ import annotations

import io
import os
import signal

import av
import numpy as np
import pytest
from av.packet import Packet

from reelworks import storage
from reelworks.errors import VideoError
from reelworks.video import decode, iter_frames, open_video
from reelworks.video.encode import encode_video
from reelworks.video.places import Place
from reelworks.video.reader import Reader
from tests.storage.tap import Tap
from tests.video.long import FRAMES, clip_bytes, long_stream, long_video
from tests.video.painted import paint, read_numbers
from tests.video.stored import stored

FPS, SECONDS, GOP = 24, 20, 12
NO_CUTS = {"g": str(GOP), "bf": "2", "sc_threshold": "1000000000"}
X264 = {"g": str(GOP), "bf": "2", "preset": "ultrafast"}
CASES = {
    "avi mjpeg": ("mjpeg", "avi", {}),
    "avi ffv1": ("ffv1", "avi", {"g": str(GOP)}),
    "avi flv1": ("flv1", "avi", {"g": str(GOP)}),
    "avi mpeg4 without B-frames": ("mpeg4", "avi", {"g": str(GOP), "bf": "0"}),
    "avi mpeg4 with B-frames before key frames": ("mpeg4", "avi", NO_CUTS),
    "avi mpeg4 with closed groups": ("mpeg4", "avi", NO_CUTS | {"flags": "+cgop"}),
    "avi mpeg4 packed": ("mpeg4", "avi", NO_CUTS | {"bf": "1"}),
    "avi mpeg4 packed, closed groups": ("mpeg4", "avi", NO_CUTS | {"bf": "1", "flags": "+cgop"}),
    "avi mpeg1video": ("mpeg1video", "avi", NO_CUTS),
    "avi mpeg2video": ("mpeg2video", "avi", NO_CUTS),
    "avi h264": ("h264", "avi", X264),
    "avi h264 without B-frames": ("h264", "avi", X264 | {"g": "5", "bf": "0"}),
    "avi h264, open groups": ("h264", "avi", X264 | {"x264-params": "open-gop=1:scenecut=0"}),
    "flv h264": ("h264", "flv", X264),
    "flv flv1": ("flv1", "flv", {"g": str(GOP)}),
    "mpeg mpeg1video": ("mpeg1video", "mpg", NO_CUTS),
    "mpeg mpeg2video": ("mpeg2video", "mpg", NO_CUTS),
    "vob mpeg2video": ("mpeg2video", "vob", NO_CUTS),
    "mpeg h264": ("h264", "mpg", X264),
    "mpegts h264": ("h264", "ts", X264),
    "mpegts h264, open groups": ("h264", "ts", X264 | {"x264-params": "open-gop=1:scenecut=0"}),
    "mpegts hevc": ("hevc", "ts", {"g": str(GOP), "preset": "ultrafast", "x265-params": "log-level=none"}),
    "mpegts mpeg2video": ("mpeg2video", "ts", NO_CUTS),
    "ivf vp8": ("vp8", "ivf", {"g": str(GOP), "deadline": "realtime"}),
    "ivf vp9": ("vp9", "ivf", {"g": str(GOP), "deadline": "realtime", "cpu-used": "8"}),
    "ivf av1": ("av1", "ivf", {"g": str(GOP), "preset": "12"}),
}


def film(name: str, height: int = 64, width: int = 96) -> bytes:
    codec, container, options = CASES[name]
    noise = np.random.default_rng(0).integers(0, 60, (FPS, height, width, 3), np.uint8)
    frames = np.concatenate([paint(FPS, height, width, FPS * second) // 2 + noise for second in range(SECONDS)])
    data = encode_video(frames, FPS, codec, "mpg" if container == "vob" else container, options=options)
    if container == "vob":  # a program stream in packs of 2 KiB, as a DVD has them
        return remuxed(data, container)
    return packed(data) if "packed" in name else data


def remuxed(data: bytes, muxer: str) -> bytes:
    out = io.BytesIO()
    with av.open(io.BytesIO(data)) as source, av.open(out, "w", format=muxer) as file:
        template = source.streams.video[0]
        stream = file.add_stream_from_template(template)
        for packet in source.demux(template):
            if packet.size:
                packet.stream = stream
                file.mux(packet)
    return out.getvalue()


def packed(data: bytes) -> bytes:
    """The same MPEG-4 as DivX writes it: a B-frame in the packet of the frame it refers to, then an empty packet."""
    out = io.BytesIO()
    with av.open(io.BytesIO(data)) as source, av.open(out, "w", format="avi") as file:
        template = source.streams.video[0]
        stream = file.add_stream_from_template(template)
        found = [bytes(packet) for packet in source.demux(template) if packet.size]
        mark = found[0].index(b"\0\0\1\xb6")
        found[0] = found[0][:mark] + b"\0\0\1\xb2DivX503b1393p" + found[0][mark:]
        kinds = ["IPBS"[packet[packet.index(b"\0\0\1\xb6") + 4] >> 6] for packet in found]
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


def noted(data: bytes) -> list[Place]:
    """The key frames that a walk through a file notes."""
    return [Place(*place) for batch in iter_frames(data, size=(24, 32)) for place in batch.places.tolist()]


@pytest.mark.parametrize("name", CASES)
def test_spans_and_times_are_those_of_a_walk_wherever_they_lie(name: str) -> None:
    data = film(name)
    places = noted(data)
    with Reader(io.BytesIO(data)) as reader:
        walked = reader.frames()
    assert read_numbers(walked.frames) == [number % 256 for number in range(SECONDS * FPS)]
    assert set(walked.pts.tolist()) >= {place.pts for place in places}
    draw = np.random.default_rng(1)
    first = walked.pts_s[0]
    with Reader(io.BytesIO(data)) as reader:
        for start_s in first + np.append(draw.uniform(0, SECONDS, 12), [0.5, 10.0, SECONDS - 0.3]):
            found = reader.frames(span_s=(start_s, start_s + 1.3), places=places)
            inside = (walked.pts_s >= start_s) & (walked.pts_s < start_s + 1.3)
            assert found.pts.tolist() == walked.pts[inside].tolist()
            assert np.array_equal(found.frames, walked.frames[inside])
        times_s = first + np.append(draw.uniform(0, SECONDS, 12), [0, 2 * SECONDS])
        shown = np.searchsorted(walked.pts_s, times_s, "right") - 1
        found = reader.frames(times_s=times_s.tolist(), places=places)
        assert found.pts.tolist() == walked.pts[shown].tolist()
        assert np.array_equal(found.frames, walked.frames[shown])
        assert reader._jumps.places == places, "no jump went wrong"
    assert len(places) >= SECONDS, "of two groups a second"


def needed(places: list[Place], time_s: float, base_s: float) -> list[Place]:
    """What a clip of a film has in its row."""
    return [max(place for place in places if place.pts * base_s <= time_s)]


@pytest.mark.parametrize(
    ("container", "codec"), [("avi", "mpeg4"), ("flv", "h264"), ("mpegts", "h264"), ("mpeg", "mpeg2video")]
)
def test_late_clips_and_sparse_frames_cost_what_they_must(tap: Tap, s3_server: str, container: str, codec: str) -> None:
    repeats = 40
    if container == "avi":  # with sound between the pictures
        data = long_video("avi", repeats, codec=codec)
    else:
        data = long_stream(codec, container, repeats, 240, 320)
    uri = stored(f"places.{container}", data).uri
    places = noted(data)
    with storage.open_ranged(uri) as file, open_video(file) as reader:
        start_s, base_s = reader.probe.start_s, float(reader.probe.time_base)
        for first_s, last_s in ((20.3, 22.3), (60.0, 70.0)):
            tap.clear()
            times_s = start_s + np.arange(first_s, last_s, 1 / FPS) + 0.001
            clip = reader.frames(times_s=times_s.tolist(), places=needed(places, times_s[0], base_s))
            first = round(first_s * FPS - 0.3)
            assert read_numbers(clip.frames) == [(first + number) % FRAMES for number in range(len(times_s))]
            cost = sum(one.body_bytes for one in tap.gets(uri))
            assert cost <= 1.3 * clip_bytes(data, start_s + first_s, start_s + last_s) + 256 * 2**10
            assert len(tap.gets(uri)) <= (2 if container == "avi" else 20)
        tap.clear()
        times_s = start_s + 2 * repeats * (np.arange(8) + 0.41) / 9
        near = [needed(places, time_s, base_s)[0] for time_s in times_s]
        sparse = reader.frames(times_s=times_s.tolist(), places=near)
        assert read_numbers(sparse.frames) == [int((s - start_s) * FPS + 1e-6) % FRAMES for s in times_s]
        costs = [one.body_bytes for one in tap.gets(uri)]
        least = [clip_bytes(data, time_s, time_s + 1 / FPS) for time_s in times_s.tolist()]
        assert len(costs) <= 8 * (2 if container == "avi" else 5) and sum(costs) <= 1.3 * sum(least) + 8 * 128 * 2**10


def test_a_place_that_is_none_costs_a_walk_and_changes_nothing() -> None:
    data = film("flv h264")
    walked = decode(data)
    places = noted(data)
    wrong = [
        places[20]._replace(pos=places[21].pos, stamp=places[21].stamp, size=places[21].size),  # another key frame
        places[20]._replace(pos=places[20].pos + 1),
        places[20]._replace(pos=len(data) + 5),
        places[20]._replace(size=1),
        places[20]._replace(pts=places[20].pts + 1),
    ]
    for place in wrong:
        with Reader(io.BytesIO(data)) as reader:
            found = reader.frames(times_s=walked.pts_s[250:253].tolist(), places=[place])
        assert found.pts.tolist() == walked.pts[250:253].tolist()
        assert np.array_equal(found.frames, walked.frames[250:253])


def test_places_are_the_same_where_a_walk_lost_its_child() -> None:
    data = film("mpegts h264")
    with open_video(io.BytesIO(data)) as reader:
        found = []
        for number, batch in enumerate(reader.batches(size=(24, 32), batch_bytes=40 * 24 * 32 * 3)):
            found += [Place(*place) for place in batch.places.tolist()]
            if number == 4:
                assert reader._child is not None
                os.kill(reader._child.pid, signal.SIGKILL)
    assert number > 8 and found == noted(data)


def test_damage_behind_a_place_is_told_as_a_walk_tells_it() -> None:
    data = film("mpegts h264")
    places = noted(data)
    at = places[30].pos + 188 * 5
    torn = data[:at] + data[at + 188 * 7 :]
    with pytest.raises(VideoError) as walked:
        decode(torn)
    with Reader(io.BytesIO(torn)) as reader, pytest.raises(VideoError) as jumped:
        reader.frames(span_s=(places[30].pts / 90_000, 99.0), places=places[29:30])
    assert (jumped.value.kind, jumped.value.message) == (walked.value.kind, walked.value.message)


def test_a_configuration_that_changes_in_the_middle_is_never_jumped_over() -> None:
    """FLV has a tag for it; what lies behind needs what stands there."""
    data = film_of_two()
    places, walked = noted(data), decode(data)
    assert read_numbers(walked.frames) == [number % 256 for number in range(len(walked))]
    change = walked.pts[len(walked) // 2]
    assert [place for place in places if place.pts < change] and not [p for p in places if p.pts >= change]
    with Reader(io.BytesIO(data)) as reader:
        for shown in (slice(-9, None), slice(20, 29)):  # and back, where the decoder has to forget
            found = reader.frames(times_s=walked.pts_s[shown].tolist(), places=places)
            assert np.array_equal(found.frames, walked.frames[shown])


def test_frames_that_a_walk_leaves_out_at_a_cut_are_left_out_behind_a_jump() -> None:
    """The decoder still holds a frame from behind a gap; how long a gap is shows only in the frames before."""
    data = film("flv h264")
    with av.open(io.BytesIO(data)) as file:
        packets = [packet for packet in file.demux(video=0) if packet.size]
    key = [number for number, packet in enumerate(packets) if packet.is_keyframe][4]
    for kept in (1, 2, 3, 4):
        cut = data[: (packets[key + kept].pos + packets[key + kept + 1].pos) // 2]
        places: list[Place] = []
        with Reader(io.BytesIO(cut)) as reader:
            for batch in reader.batches():
                places += [Place(*place) for place in batch.places.tolist()]
        times_s = [(packets[key].pts + late) / 1000 for late in (0, 42, 130, 5000)]
        with Reader(io.BytesIO(cut)) as reader:
            walked = reader.frames(times_s=times_s, partial=True)
        with Reader(io.BytesIO(cut)) as reader:
            found = reader.frames(times_s=times_s, partial=True, places=places)
        assert found.pts.tolist() == walked.pts.tolist()


def film_of_two() -> bytes:
    """Two FLV files with different headers as one, the second header in its middle."""
    noise = np.random.default_rng(0).integers(0, 60, (FPS, 64, 96, 3), np.uint8)
    halves = []
    for half, extra in enumerate(("chroma-qp-offset=0", "chroma-qp-offset=6")):
        frames = np.concatenate([paint(FPS, 64, 96, FPS * (2 * half + s)) // 2 + noise for s in range(2)])
        halves.append(encode_video(frames, FPS, "h264", "flv", options=X264 | {"x264-params": extra}))
    joined, at = bytearray(halves[0]), 13  # behind the file's header
    while at < len(halves[1]):
        stop = at + 11 + int.from_bytes(halves[1][at + 1 : at + 4], "big") + 4
        tag = bytearray(halves[1][at:stop])
        tag[4:7] = (int.from_bytes(tag[4:7], "big") + 2000).to_bytes(3, "big")  # milliseconds
        joined += tag if tag[0] == 9 else b""  # pictures
        at = stop
    return bytes(joined)
