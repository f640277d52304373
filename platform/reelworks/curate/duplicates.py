"""Near-duplicate clips of a data set: a pure function of (clip id, perceptual hash, pixels), whatever their order.

Legend: N clips, U distinct hashes, W words of a hash.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from reelworks.curate.likeness import distance

# Two clips are compared where they share one band, this many bytes in a row of their hashes. Copies that differ in 4%
# of their bits at random share one of the 16 bands in 99.9% of cases; of a million unlike clips few do.
BAND_BYTES = 3
# Hashes with an equal band that each is compared with, next in the order of the band that follows, beside the best:
# a band that half of the data has (plain backgrounds) costs no more than this.
NEIGHBOURS = 12
# Pairs whose distance is taken at once: 2 × 48 bytes a pair.
PAIRS = 1 << 20


def find_duplicates(
    clip_ids: np.ndarray, hashes: np.ndarray, pixels: np.ndarray, max_distance: int
) -> tuple[np.ndarray, np.ndarray]:
    """(indexes of the clips to drop, for each the index of the clip that stays); clip_ids bytes (N,), hashes (N, W).

    Clips stay in the order of most pixels, then smallest id; one is dropped if one that stays is within max_distance
    bits of it. So a chain of ever less alike clips isn't thrown out as a whole, as it would be by components.
    """
    order = np.lexsort((clip_ids, -pixels))  # (N,) the best first
    if not len(order):
        return order, order
    _, first, group = np.unique(hashes[order], axis=0, return_index=True, return_inverse=True)
    group = group.reshape(-1)  # (N,) which distinct hash
    # Equal hashes are one node, led by their best clip; nodes are numbered by their leaders' order.
    rank = np.argsort(np.argsort(first))  # (U,)
    node, leaders = rank[group], np.sort(first)  # (N,) (U,) positions in `order`
    keeper = _keepers(hashes[order[leaders]], max_distance)  # (U,)
    stays = leaders[keeper[node]]  # (N,) positions of the clips that stay
    dropped = np.flatnonzero(stays != np.arange(len(order)))
    return order[dropped], order[stays[dropped]]


def _keepers(hashes: np.ndarray, max_distance: int) -> np.ndarray:
    """For each of U distinct hashes, best first, the node that stays for it: itself, or the best alike that stays."""
    keeper = np.arange(len(hashes))
    edges = [worse * len(hashes) + better for better, worse in _alike(hashes, max_distance)]
    # By the worse node, then the better: when a node's turn comes, it is known which of its betters stay.
    for edge in np.unique(np.concatenate(edges or [keeper[:0]])).tolist():
        worse, better = divmod(edge, len(hashes))
        if keeper[worse] == worse and keeper[better] == better:
            keeper[worse] = better
    return keeper


def _alike(hashes: np.ndarray, max_distance: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(better, worse) nodes within max_distance of each other; a pair comes once for each band that it shares."""
    for one, other in _candidates(np.ascontiguousarray(hashes).view(np.uint8)):
        for start in range(0, len(one), PAIRS):
            ends = one[start : start + PAIRS], other[start : start + PAIRS]
            near = distance(hashes[ends[0]], hashes[ends[1]]) <= max_distance
            yield np.minimum(*ends)[near], np.maximum(*ends)[near]


def _candidates(octets: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of nodes with an equal band of octets (U, bytes): near neighbours in sorted order, and each band's best."""
    parts = octets.reshape(len(octets), -1, BAND_BYTES).astype(np.uint64)
    bands = parts[..., 0] << np.uint64(16) | parts[..., 1] << np.uint64(8) | parts[..., 2]  # (U, bands)
    for band, following in zip(bands.T, np.roll(bands, -1, axis=1).T, strict=True):
        order = np.argsort(band << np.uint64(8 * BAND_BYTES) | following, kind="stable")  # (U,)
        keys = band[order]
        starts = np.flatnonzero(np.diff(keys, prepend=keys[0] ^ np.uint64(1)))
        best = np.minimum.reduceat(order, starts)[np.cumsum(np.bincount(starts, minlength=len(keys))) - 1]
        other = np.flatnonzero(best != order)
        yield best[other], order[other]
        for step in range(1, NEIGHBOURS + 1):
            same = np.flatnonzero(keys[step:] == keys[:-step])
            if not len(same):
                break
            yield order[same], order[same + step]
