"""Ids of video jobs: they sort newest first, so a listing of keys is a listing by time."""

from __future__ import annotations

import re

ALPHABET = "0123456789abcdefghijklmnopqrstuv"  # base32hex: its digits sort as the bytes of its letters do
NUM_DIGITS = 26  # 48 bits of time and 80 random bits are 128; 26 digits hold 130
RANDOM_BITS = 80
PREFIX = "video_"
_ID = re.compile(rf"{PREFIX}[0-7][0-9a-v]{{{NUM_DIGITS - 1}}}")


def video_id(created_ms: int, random_bits: int) -> str:
    """Id of a job created at a time in ms; of two ids the newer job's sorts first."""
    if not 0 <= created_ms < 1 << 48 or not 0 <= random_bits < 1 << RANDOM_BITS:
        raise ValueError(f"a time below 2^48 ms and {RANDOM_BITS} random bits are needed, not {created_ms} ms")
    number = ((1 << 48) - 1 - created_ms << RANDOM_BITS) | random_bits
    digits = ""
    for _ in range(NUM_DIGITS):
        number, digit = divmod(number, 32)
        digits = ALPHABET[digit] + digits
    return PREFIX + digits


def created_ms(job_id: str) -> int:
    """The time in ms that an id carries."""
    number = 0
    for digit in job_id.removeprefix(PREFIX):
        number = number * 32 + ALPHABET.index(digit)
    return (1 << 48) - 1 - (number >> RANDOM_BITS)


def is_video_id(text: str) -> bool:
    """Whether a text from outside has the form of an id; only such texts may enter an object's key."""
    return _ID.fullmatch(text) is not None
