"""Counter-based random numbers: Philox 4x32-10 (Salmon et al., SC11) on integer tensors.

A draw is a pure function of (seed, purpose, clip id, epoch) and its place in that stream, so it depends neither on
packing, nor on the number of ranks, nor on what was drawn before. The integers are equal on CPU and GPU.
"""

import hashlib
import math
from collections.abc import Sequence
from enum import StrEnum

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_MULTIPLIER = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10

Key = tuple[int, int, int, int]
"""Two key words and two counter words of 32 bits; the other two counter words are the place in the stream."""


class Purpose(StrEnum):
    """What a stream is for: two purposes never share numbers. The list is closed."""

    noise = "noise"
    timestep = "timestep"
    caption = "caption"
    text_dropout = "text_dropout"
    order = "order"
    sampling_noise = "sampling_noise"


def stream(seed: int, purpose: Purpose, name: str, epoch: int) -> Key:
    """Key of the stream of a clip (or of anything with a name) in an epoch."""
    digest = hashlib.blake2b(f"{seed}\0{purpose.value}\0{name}\0{epoch}".encode(), digest_size=16).digest()
    a, b, c, d = (int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4))
    return a, b, c, d


def _multiply(a: Tensor, constant: int) -> tuple[Tensor, Tensor]:
    """High and low word of a 32-bit product, in halves of 16 bits: int64 has no room for the whole product."""
    low, high = (a & 0xFFFF) * constant, (a >> 16) * constant
    return (high + (low >> 16)) >> 16, (low + ((high & 0xFFFF) << 16)) & _MASK


def philox(counter: Tensor, key: Tensor) -> Tensor:
    """Words (n, 4) for counters (n, 4) and keys (n, 2); int64 tensors that hold unsigned 32-bit words."""
    c0, c1, c2, c3 = counter.unbind(1)
    k0, k1 = key.unbind(1)
    for _ in range(_ROUNDS):
        high0, low0 = _multiply(c0, _MULTIPLIER[0])
        high1, low1 = _multiply(c2, _MULTIPLIER[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return torch.stack([c0, c1, c2, c3], dim=1)


def _words(streams: Sequence[Key], sizes: Sequence[int], device: torch.device) -> list[Tensor]:
    """The first ⌈size / 4⌉ × 4 words of each stream."""
    blocks = torch.tensor([-(-size // 4) for size in sizes], device=device)
    owner = torch.repeat_interleave(torch.arange(len(sizes), device=device), blocks)
    place = torch.arange(len(owner), device=device) - (blocks.cumsum(0) - blocks)[owner]
    keys = torch.tensor(streams, device=device, dtype=torch.int64)[owner]
    counter = torch.stack([place & _MASK, place >> 32, keys[:, 2], keys[:, 3]], dim=1)
    return list(philox(counter, keys[:, :2]).split(blocks.tolist()))


def uniform(streams: Sequence[Key], device: torch.device) -> Tensor:
    """The first number of each stream (S,), in the open interval (0, 1)."""
    words = torch.stack([block[0, 0] for block in _words(streams, [1] * len(streams), device)])
    return ((words.double() + 0.5) / 2**32).float().clamp(2**-24, 1 - 2**-24)


def normal(streams: Sequence[Key], sizes: Sequence[int], device: torch.device) -> list[Tensor]:
    """`size` standard normal numbers of each stream, by Box and Muller, computed in double precision."""
    draws = []
    for words, size in zip(_words(streams, sizes, device), sizes, strict=True):
        unit = (words.double() + 0.5) / 2**32
        radius = (-2 * unit[:, :2].log()).sqrt()
        angle = 2 * math.pi * unit[:, 2:]
        draws.append(torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1).reshape(-1)[:size].float())
    return draws


def permutation(key: Key, size: int) -> list[int]:
    """The numbers 0 … size − 1 in random order: sorted by 64 random bits each."""
    words = _words([key], [2 * size], torch.device("cpu"))[0].reshape(-1, 2)[:size]
    return sorted(range(size), key=lambda i: (int(words[i, 0]), int(words[i, 1]), i))
