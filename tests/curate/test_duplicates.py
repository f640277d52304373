"""reelworks.curate.duplicates: which of the alike clips stays, for any order, without comparing all pairs."""

from __future__ import annotations

import numpy as np
import pytest

from reelworks.curate import duplicates as module
from reelworks.curate.duplicates import find_duplicates
from reelworks.curate.likeness import WORDS, distance

ALIKE = 24


def clip_ids(count: int, seed: int = 0) -> np.ndarray:
    return np.frombuffer(np.random.default_rng(seed).bytes(16 * count), "S16")


def flip(hashes: np.ndarray, bits: int, rng: np.random.Generator) -> np.ndarray:
    """Copies of hashes (N, WORDS) with so many bits changed."""
    found = hashes.copy()
    for row in found:
        for bit in rng.choice(64 * WORDS, bits, replace=False):
            row[bit // 64] ^= np.uint64(1) << np.uint64(bit % 64)
    return found


def random_hashes(count: int, rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 2**64, (count, WORDS), np.uint64)


def world(rng: np.random.Generator, originals: int, copies: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(ids, hashes, pixels): originals, then copies of the first of them with 0 to 8 bits changed."""
    hashes = random_hashes(originals, rng)
    changed = [flip(hashes[index : index + 1], int(rng.integers(9)), rng) for index in range(copies)]
    every = np.concatenate([hashes, *changed])
    return clip_ids(len(every)), every, rng.integers(1, 4, len(every))


def by_all_pairs(ids: np.ndarray, hashes: np.ndarray, pixels: np.ndarray) -> dict[bytes, bytes]:
    """The definition: clips in the order of most pixels, then smallest id; one that is like one that stays goes."""
    stays: list[int] = []
    found = {}
    for index in sorted(range(len(ids)), key=lambda i: (-pixels[i], ids[i])):
        near = [keeper for keeper in stays if distance(hashes[[keeper]], hashes[[index]])[0] <= ALIKE]
        if near:
            found[ids[index]] = ids[near[0]]
        else:
            stays.append(index)
    return found


def by_bands(ids: np.ndarray, hashes: np.ndarray, pixels: np.ndarray) -> dict[bytes, bytes]:
    dropped, stays = find_duplicates(ids, hashes, pixels, ALIKE)
    return dict(zip(ids[dropped].tolist(), ids[stays].tolist(), strict=True))


def test_bands_find_what_all_pairs_find() -> None:
    given = world(np.random.default_rng(1), 400, 200)
    found = by_bands(*given)
    assert found == by_all_pairs(*given)
    assert len(found) == 200


@pytest.mark.parametrize(("bits", "share"), [(16, 0.999), (24, 0.978), (40, 0.716)])
def test_copies_are_found_as_often_as_the_recipe_says(bits: int, share: float) -> None:
    rng, count = np.random.default_rng(7), 1500
    hashes = random_hashes(count, rng)
    every = np.concatenate([hashes, flip(hashes, bits, rng)])
    dropped, _ = find_duplicates(clip_ids(2 * count), every, np.ones(2 * count, np.int64), bits)
    assert len(dropped) / count == pytest.approx(share, abs=4 * (share * (1 - share) / count) ** 0.5)


def test_the_order_of_the_clips_changes_nothing() -> None:
    rng = np.random.default_rng(2)
    ids, hashes, pixels = world(rng, 300, 100)
    expected = by_bands(ids, hashes, pixels)
    for _ in range(3):
        order = rng.permutation(len(ids))
        assert by_bands(ids[order], hashes[order], pixels[order]) == expected


def test_the_most_pixels_stay_then_the_smallest_id() -> None:
    rng = np.random.default_rng(3)
    same = random_hashes(1, rng).repeat(3, axis=0)
    ids = np.array([b"c", b"b", b"a"], "S16")
    assert by_bands(ids, same, np.array([1, 5, 5])) == {b"c": b"a", b"b": b"a"}
    assert by_bands(ids, same, np.array([9, 5, 5])) == {b"a": b"c", b"b": b"c"}


def test_a_chain_is_not_thrown_out_as_a_whole() -> None:
    rng = np.random.default_rng(4)
    first = random_hashes(1, rng)
    second, third = first.copy(), first.copy()
    second[0, 0] ^= np.uint64(2**ALIKE - 1)
    third[0, 0] ^= np.uint64(2 ** (2 * ALIKE) - 1)
    ids = np.array([b"a", b"b", b"c"], "S16")
    assert by_bands(ids, np.concatenate([first, second, third]), np.array([3, 2, 1])) == {b"b": b"a"}


def test_a_clip_copied_a_thousand_times_stays_once() -> None:
    rng = np.random.default_rng(5)
    hashes = flip(random_hashes(1, rng).repeat(1000, axis=0), 6, rng)
    found = by_bands(clip_ids(1000), hashes, np.ones(1000, np.int64))
    assert len(found) == 999


def test_the_work_grows_with_the_clips_and_not_with_their_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = 0

    def counted(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        nonlocal compared
        compared += len(one)
        return distance(one, other)

    monkeypatch.setattr(module, "distance", counted)
    rng = np.random.default_rng(6)
    plain = random_hashes(5000, rng)
    plain[:, :4] = 0  # the first frames of all are black: most bands are shared by everything
    by_bands(clip_ids(5000), plain, np.ones(5000, np.int64))
    assert 0 < compared <= 5000 * 16 * (module.NEIGHBOURS + 1)


def test_no_clips_have_no_duplicates() -> None:
    assert by_bands(clip_ids(0), np.empty((0, WORDS), np.uint64), np.empty(0, np.int64)) == {}
