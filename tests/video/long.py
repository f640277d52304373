"""Long files at little cost: two seconds encoded once, their packets repeated."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.packet import Packet

from reelworks.video.encode import encode_video
from tests.video.painted import paint

FPS, FRAMES, GOP = 24, 48, 12
"""Of the part that is repeated; frame n of a long file shows n mod FRAMES."""


def long_video(container: str, repeats: int, *, codec: str = "h264", index_first: bool = False) -> bytes:
    """A codec with B-frames at 2 Mbit/s and more, and a key frame every half second, with PCM sound interleaved."""
    noise = np.random.default_rng(0).integers(0, 90, (FRAMES, 240, 320, 3), np.uint8)
    options = {"g": str(GOP), "bf": "2"}
    if codec == "h264":
        options |= {"preset": "ultrafast", "crf": "27", "x264-params": "scenecut=0"}
    else:
        options |= {"sc_threshold": "1000000000", "qmin": "6", "qmax": "9"}
    part = encode_video(paint(FRAMES, 240, 320) // 2 + noise, FPS, codec, "mov", options=options)
    pieces = 8 if container == "avi" else 1  # a jump in AVI goes back to the start of the sound that is heard then
    out = io.BytesIO()
    muxer = {"mov": "mov", "mp4": "mov", "mkv": "matroska"}.get(container, container)
    movflags = {"movflags": "+faststart"} if index_first else {}
    with (
        av.open(io.BytesIO(part)) as source,
        av.open(out, "w", format=muxer, options=movflags, io_open=lambda *_: io.BytesIO(out.getvalue())) as file,
    ):
        template = source.streams.video[0]
        video = file.add_stream_from_template(template)
        if container == "avi":
            video.time_base = Fraction(1, FPS)  # it has a chunk for each tick, be it an empty one
        audio = file.add_stream("pcm_s16le", rate=16_000)
        assert isinstance(audio, AudioStream)
        audio.layout = "mono"
        packets = [packet for packet in source.demux(template) if packet.size]
        length = int(Fraction(FRAMES, FPS) / packets[0].time_base)
        for repeat in range(repeats):
            for packet in packets:
                file.mux(_moved(packet, repeat * length, video))
            for piece in range(pieces):
                for packet in audio.encode(_silence(16_000 * FRAMES // FPS // pieces, repeat * pieces + piece)):
                    file.mux(packet)
    return out.getvalue()


def long_stream(codec: str, container: str, repeats: int, height: int = 48, width: int = 64) -> bytes:
    """Pictures alone, of any codec with B-frames, in any container that takes it; a key frame every half second."""
    noise = np.random.default_rng(0).integers(0, 60, (FRAMES, height, width, 3), np.uint8)
    options = {"g": str(GOP), "bf": "2"} | ({"crf": "27", "x264-params": "scenecut=0"} if codec == "h264" else {})
    part = encode_video(paint(FRAMES, height, width) // 2 + noise, FPS, codec, "mov", options=options)
    out = io.BytesIO()
    with av.open(io.BytesIO(part)) as source, av.open(out, "w", format=container) as file:
        template = source.streams.video[0]
        video = file.add_stream_from_template(template)
        packets = [packet for packet in source.demux(template) if packet.size]
        length = int(Fraction(FRAMES, FPS) / packets[0].time_base)
        for repeat in range(repeats):
            for packet in packets:
                file.mux(_moved(packet, repeat * length, video))
    return out.getvalue()


def _moved(packet: Packet, ticks: int, stream: av.stream.Stream) -> Packet:
    copy = Packet(bytes(packet))
    copy.pts, copy.dts, copy.time_base = packet.pts + ticks, packet.dts + ticks, packet.time_base
    copy.duration, copy.is_keyframe, copy.stream = packet.duration, packet.is_keyframe, stream
    return copy


def _silence(samples: int, repeat: int) -> AudioFrame:
    frame = AudioFrame.from_ndarray(np.zeros((1, samples), np.int16), format="s16", layout="mono")
    frame.sample_rate, frame.pts = 16_000, repeat * samples
    return frame


def clip_bytes(data: bytes, start_s: float, end_s: float) -> int:
    """Bytes from the start of the group of pictures of `start_s` to the last packet before `end_s`."""
    with av.open(io.BytesIO(data)) as file:
        packets = [packet for packet in file.demux(video=0) if packet.size and packet.pos is not None]
        times = [packet.dts if packet.pts is None else packet.pts for packet in packets]  # AVI has decoding times only
        shown = [
            (float(time * packet.time_base), packet.pos, packet.pos + packet.size, packet.is_keyframe)
            for packet, time in zip(packets, times, strict=True)
        ]
    first = max(pos for time_s, pos, _, key in shown if key and time_s <= start_s + 1e-6)
    return max(stop for time_s, _, stop, _ in shown if time_s < end_s) - first
