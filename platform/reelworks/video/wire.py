"""What passes between a worker and its decoding child: JSON packets, raw bytes, and shared pages by descriptor.

No pickles: the child handles hostile bytes, and whatever it sends must not be able to run code in the worker.
"""

import fcntl
import json
import math
import mmap
import os
import socket
from collections.abc import Sequence
from dataclasses import asdict
from fractions import Fraction
from typing import Any

import numpy as np

from reelworks.errors import VideoError, VideoErrorKind
from reelworks.video.frames import Frames
from reelworks.video.places import Place, places_array
from reelworks.video.probe import Probe

PACKET_BYTES = 160 * 1024
"""Longest packet: below the smallest default send buffer of Linux, above one read of a file."""

READ_BYTES = 128 * 1024
"""Bytes of a file in one packet."""

Message = dict[str, Any]


def send(
    channel: socket.socket, message: Message, data: bytes | memoryview = b"", descriptor: int | None = None
) -> None:
    """Send one packet: a line of JSON, then `data`, with at most one file descriptor."""
    packet = [json.dumps(message).encode() + b"\n", data]
    socket.send_fds(channel, packet, [] if descriptor is None else [descriptor])


def receive(channel: socket.socket) -> tuple[Message, bytes, int | None]:
    """One packet: message, data, descriptor (now ours to close). Raises EOFError when the other side is gone."""
    try:
        packet, descriptors, _, _ = socket.recv_fds(channel, PACKET_BYTES, 1)
    except ConnectionError as error:
        raise EOFError from error
    if not packet:
        raise EOFError
    line, _, data = packet.partition(b"\n")
    return json.loads(line), data, descriptors[0] if descriptors else None


class SharedPages:
    """Memory that another process can take over without a copy."""

    def __init__(self, name: str):
        self._name = name
        self.descriptor = -1

    def allocate(self, shape: tuple[int, ...]) -> np.ndarray:
        """A uint8 array over new pages; the pages of an earlier call are let go."""
        self.release()
        self.descriptor = os.memfd_create(self._name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        size = int(np.prod(shape, dtype=np.int64))
        os.ftruncate(self.descriptor, size)
        return np.frombuffer(mmap.mmap(self.descriptor, size), np.uint8).reshape(shape)

    def release(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def pages_of(data: bytes | bytearray | memoryview) -> int:
    """A descriptor of new shared pages that hold `data`."""
    descriptor = os.memfd_create("source", os.MFD_CLOEXEC)
    view = memoryview(data).cast("B")
    at = 0
    while at < len(view):
        at += os.write(descriptor, view[at:])
    return descriptor


def pack_wanted(times_s: Sequence[float], places: Sequence[Place]) -> int:
    """A descriptor of pages with the times that are asked for and the places that lead there: more than a packet holds
    where a chunk has many small frames."""
    return pages_of(np.asarray(times_s, "<f8").tobytes() + places_array(places).astype("<i8").tobytes())


def unpack_wanted(descriptor: int, num_times: int) -> tuple[list[float], list[Place]]:
    """The inverse of `pack_wanted`. Closes the descriptor."""
    try:
        data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    finally:
        os.close(descriptor)
    places = np.frombuffer(data[8 * num_times :], "<i8").reshape(-1, len(Place._fields))
    return np.frombuffer(data[: 8 * num_times], "<f8").tolist(), [Place(*place) for place in places.tolist()]


def pack_frames(frames: Frames, pages: SharedPages) -> Message:
    """Describe frames whose pictures begin `pages`; the timestamps are put behind them, and behind these the places."""
    pictures_bytes = frames.frames.size
    os.ftruncate(pages.descriptor, pictures_bytes)
    numbers = np.concatenate([frames.pts, frames.places.ravel()])
    os.pwrite(pages.descriptor, numbers.astype("<i8").tobytes(), pictures_bytes)
    error = None if frames.error is None else pack_error(frames.error)
    base = str(frames.time_base)
    message = {"shape": list(frames.frames.shape), "num_places": len(frames.places), "error": error}
    return message | {"time_base": base, "decoder": frames.decoder}


def unpack_frames(message: Message, descriptor: int) -> Frames:
    """Take over the pictures that a child decoded; without a copy. Closes the descriptor."""
    shape = tuple(int(side) for side in message["shape"])
    size, num_places = math.prod(shape), int(message["num_places"])
    try:
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)  # or the child could pull the pages away
        numbers_bytes = 8 * (shape[0] + num_places * len(Place._fields))
        if len(shape) != 4 or min(*shape, num_places) < 0 or os.fstat(descriptor).st_size != size + numbers_bytes:
            raise VideoError(VideoErrorKind.crashed, "The decoding child sent pages of a wrong size.")
        pictures = np.frombuffer(mmap.mmap(descriptor, size), np.uint8) if size else np.empty(0, np.uint8)
        numbers = np.frombuffer(os.pread(descriptor, numbers_bytes, size), "<i8").astype(np.int64)
    finally:
        os.close(descriptor)
    error = None if message["error"] is None else unpack_error(message["error"])
    pts, places = numbers[: shape[0]], numbers[shape[0] :].reshape(num_places, len(Place._fields))
    return Frames(pictures.reshape(shape), pts, Fraction(message["time_base"]), str(message["decoder"]), error, places)


def pack_error(error: VideoError) -> Message:
    return {"kind": error.kind.value, "message": error.message, "good_frames": error.good_frames}


def unpack_error(message: Message) -> VideoError:
    return VideoError(VideoErrorKind(message["kind"]), str(message["message"]), message["good_frames"])


def pack_probe(probe: Probe) -> Message:
    values = asdict(probe)
    return values | {name: str(value) for name, value in values.items() if isinstance(value, Fraction)}


def unpack_probe(message: Message) -> Probe:
    fractions = {name: Fraction(message[name]) for name in ("pixel_aspect", "time_base")}
    return Probe(**(message | fractions))
