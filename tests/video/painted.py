"""Frames that carry their own number, and bytes of containers bent into the shapes that real files have."""

import struct

import numpy as np

BITS = 8


def paint(count: int, height: int, width: int, first: int = 0) -> np.ndarray:
    """uint8 (T, H, W, 3): frame n shows n as eight blocks in its upper half, the complement in its lower half."""
    frames = np.empty((count, height, width, 3), np.uint8)
    columns = np.minimum(np.arange(width) * BITS // width, BITS - 1)
    for index in range(count):
        bits = (first + index) >> columns & 1
        row = np.where(bits == 1, 210, 40).astype(np.uint8)
        frames[index, : height // 2] = row[None, :, None]
        frames[index, height // 2 :] = (250 - row)[None, :, None]
    return frames


def read_numbers(frames: np.ndarray) -> list[int]:
    """The numbers in frames (T, H, W, 3); -1 where the two halves disagree."""
    return [_read(frame.mean(axis=2)) for frame in frames]


def _read(picture: np.ndarray) -> int:
    height, width = picture.shape
    upper, lower = picture[height // 8 : 3 * height // 8], picture[5 * height // 8 : 7 * height // 8]
    number = 0
    for bit in range(BITS):
        inside = slice(round((bit + 0.3) * width / BITS), max(round((bit + 0.7) * width / BITS), 1))
        high, low = upper[:, inside].mean(), lower[:, inside].mean()
        if abs(high - low) < 60:
            return -1
        number |= int(high > low) << bit
    return number


def turned(mp4: bytes, matrix: tuple[int, int, int, int]) -> bytes:
    """The same MP4 with (a, b, c, d) in its track's display matrix (ISO/IEC 14496-12 8.3.2)."""
    data = bytearray(mp4)
    at = data.index(b"tkhd") + 4
    at += 4 + (20 if data[at] == 0 else 32) + 16  # version and flags, times and ids, layer to volume
    a, b, c, d = (value * 65536 for value in matrix)
    struct.pack_into(">9i", data, at, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    return bytes(data)


def edited(mp4: bytes, hide_first_ticks: int = 0, keep_movie_ticks: int | None = None) -> bytes:
    """The same MP4 whose edit list starts later, and lasts `keep_movie_ticks` (milliseconds by default)."""
    data = bytearray(mp4)
    at = data.index(b"elst") + 4 + 4
    count, duration, media_time = struct.unpack_from(">IIi", data, at)
    assert count == 1
    if keep_movie_ticks is not None:
        duration = keep_movie_ticks
    struct.pack_into(">IIi", data, at, count, duration, media_time + hide_first_ticks)
    return bytes(data)


def without_samples(mp4: bytes, kept: int) -> bytes:
    """The same MP4 with zeros in place of its last samples."""
    data = bytearray(mp4)
    at = data.index(b"mdat") - 4
    (size,) = struct.unpack_from(">I", data, at)
    sizes_at = data.index(b"stsz") + 4 + 12
    sizes = struct.unpack_from(f">{struct.unpack_from('>I', data, sizes_at - 4)[0]}I", data, sizes_at)
    start = at + 8 + sum(sizes[:kept])
    data[start : at + size] = bytes(at + size - start)
    return bytes(data)
