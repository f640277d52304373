"""Which of many addresses came before, in 16 bytes each."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

# 128 bits of a hash: among 10^9 addresses a false "seen before" has a probability of 10^-21.
DIGEST_BYTES = 16
# Digests wait here, as Python objects of 130 bytes each, until they are sorted in.
WAITING = 8192


class Seen:
    """A set of strings that only grows; at most 40 bytes for each, while two sorted runs are made one."""

    def __init__(self) -> None:
        self._runs: list[np.ndarray] = []  # sorted, each less than half as long as the one before it
        self._waiting: set[bytes] = set()

    def add(self, texts: Sequence[str]) -> list[bool]:
        """Take strings in, and say of each whether it was new."""
        digests = [_digest(text) for text in texts]
        new = []
        for digest, old in zip(digests, self._in_runs(digests), strict=True):
            new.append(not old and digest not in self._waiting)
            if new[-1]:
                self._waiting.add(digest)
        if len(self._waiting) >= WAITING:
            self._sort_in()
        return new

    def has(self, texts: Sequence[str]) -> list[bool]:
        """Whether each was taken in."""
        digests = [_digest(text) for text in texts]
        found = self._in_runs(digests)
        return [bool(old) or digest in self._waiting for digest, old in zip(digests, found, strict=True)]

    def _in_runs(self, digests: list[bytes]) -> np.ndarray:
        wanted = np.array(digests, f"S{DIGEST_BYTES}")
        found = np.zeros(len(wanted), bool)
        for run in self._runs:
            at = np.minimum(np.searchsorted(run, wanted), len(run) - 1)
            found |= run[at] == wanted
        return found

    def _sort_in(self) -> None:
        run = np.array(sorted(self._waiting), f"S{DIGEST_BYTES}")
        self._waiting = set()
        while self._runs and len(self._runs[-1]) <= 2 * len(run):
            run = np.concatenate([self._runs.pop(), run])
            run.sort()
        self._runs.append(run)


def _digest(text: str) -> bytes:
    # NumPy ends a string at trailing zero bytes: one in 256 digests would be shorter, none is equal to another.
    return hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).digest()
