"""Films of random codec, container, size, rate, groups of pictures and sound, whose every frame shows its number."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.packet import Packet

from reelworks.video.encode import MUXERS, encode_video
from tests.video.painted import paint

CONTAINERS = {
    "h264": "mp4 mov mkv avi ts mpg flv",
    "hevc": "mp4 mkv ts",
    "vp8": "webm mkv ivf",
    "vp9": "webm mkv mp4 ivf",
    "av1": "mp4 webm ivf",
    "mpeg1video": "mpg ts avi mkv mpeg",
    "mpeg2video": "mpg ts avi mkv mp4 mpeg dvd",
    "mpeg4": "mp4 avi mkv mov",
    "mjpeg": "avi mov mkv",
    "flv1": "flv avi",
    "ffv1": "mkv avi",
    "prores": "mov mkv",
}
SOUNDED = ("avi", "mkv", "ts", "mpg", "mpeg", "dvd")
PACKED = ("ts", "mpg", "mpeg", "dvd")
CLOCKED = ("mp4", "mov", "mkv", "webm", "flv", "ts")
"""Containers that time each frame, so that the rate may vary."""
RATES = (24, 25, 30, 50, 60, Fraction(24000, 1001), Fraction(30000, 1001))
FREE_RATES = (*RATES, 10, 12, 15)
"""MPEG-1 and 2 know no others than RATES."""
CLOCK_S = {"mkv": 1e-3, "webm": 1e-3, "flv": 1e-3}
SOUND_HZ, SOUND_FRAME = 48_000, 1152


@dataclass(frozen=True)
class RandomFilm:
    """A file and the truth about it; frame n shows n mod 256."""

    data: bytes
    about: str
    times_s: np.ndarray
    """(T,) of each frame, from the first one on."""
    fps: float | None
    """None where it varies."""
    within_s: float


def random_film(seed: int) -> RandomFilm:
    """A pure function of the seed."""
    draw = random.Random(seed)
    codec = draw.choice(list(CONTAINERS))
    container = draw.choice(CONTAINERS[codec].split())
    height, width = draw.randrange(64, 200, 2), draw.randrange(64, 260, 2)
    fps = draw.choice(RATES if codec in ("mpeg1video", "mpeg2video") else FREE_RATES)
    # FFmpeg takes H.264 beside sound for sound itself where it has written both into a program stream.
    hears = container in SOUNDED and not (codec == "h264" and container == "mpg")
    count, sound = draw.randrange(40, 220), hears and draw.random() < 0.5
    options = _options(draw, codec)
    pts = None
    if container in CLOCKED and codec in ("h264", "hevc", "vp8", "vp9", "mjpeg", "ffv1") and draw.random() < 0.3:
        pts = np.cumsum([0, *(draw.choice([500, 1000, 1000, 2000, 4000]) for _ in range(count - 1))])
    grain = 8 if codec == "av1" else draw.choice([8, 60])
    noise = np.random.default_rng(seed).integers(0, grain, (24, height, width, 3))
    frames = paint(count, height, width) * 0.75 + noise[np.arange(count) % len(noise)]
    again = sound or container not in MUXERS
    first = "mp4" if again and container in PACKED else container  # with times for every packet
    ticks = None if pts is None else pts.tolist()
    data = encode_video(frames.astype(np.uint8), float(fps), codec, first, options=options, pts=ticks)
    if again:
        data = _muxed(data, MUXERS.get(container, container), sound)
    about = f"seed {seed}: {codec} in {container}, {height}x{width}, {count} frames, {fps} a second, {options}"
    about += (", of variable rate" if pts is not None else "") + (", with sound" if sound else "")
    times_s = (np.arange(count) * 1000 if pts is None else pts) / (1000 * float(fps))
    return RandomFilm(data, about, times_s, float(fps) if pts is None else None, CLOCK_S.get(container, 2e-4))


def _options(draw: random.Random, codec: str) -> dict[str, str]:
    options = {"g": str(draw.choice([1, 5, 12, 15, 30, 250]))}
    between = str(draw.choice([0, 1, 2, 3]))
    if codec == "h264":
        options |= {"preset": draw.choice(["ultrafast", "veryfast"]), "bf": between}
        options |= {"x264-params": "open-gop=1:cpu-independent=1"} if draw.random() < 0.3 else {}
    elif codec == "av1":
        options |= {"crf": "2"}  # above that SVT-AV1 leaves out what changes from frame to frame, numbers included
    elif codec.startswith("mpeg"):
        options |= {"bf": between, "sc_threshold": "1000000000"}
        options |= {"flags": "+cgop"} if draw.random() < 0.3 else {}
    return options


def _muxed(data: bytes, muxer: str, sound: bool) -> bytes:
    """The same pictures in another container, with sound between them if asked for."""
    out = io.BytesIO()
    with av.open(io.BytesIO(data)) as source, av.open(out, "w", format=muxer) as file:
        template = source.streams.video[0]
        packets = [packet for packet in source.demux(template) if packet.size]
        video = file.add_stream_from_template(template)
        audio = file.add_stream("mp2", rate=SOUND_HZ) if sound else None
        heard = 0
        for packet in packets:
            stamp = packet.pts if packet.dts is None else packet.dts
            assert stamp is not None and packet.time_base is not None
            while isinstance(audio, AudioStream) and heard < stamp * packet.time_base * SOUND_HZ:
                for one in audio.encode(_tone(heard)):
                    file.mux(one)
                heard += SOUND_FRAME
            packet.stream = video
            file.mux(packet)
        ends: list[Packet] = audio.encode(None) if isinstance(audio, AudioStream) else []
        for one in ends:
            file.mux(one)
    return out.getvalue()


def _tone(first: int) -> AudioFrame:
    samples = np.random.default_rng(first).integers(-3000, 3000, (1, 2 * SOUND_FRAME)).astype(np.int16)
    frame = AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = SOUND_HZ, first, Fraction(1, SOUND_HZ)
    return frame
