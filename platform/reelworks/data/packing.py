"""The packing plan: which clips stand in which pack of which global step of an epoch.

A pure function of token counts, budget, seed and epoch. It knows nothing of ranks: n ranks take packs r, r + n, … of
every step, so any number of ranks that divides the packs of a step computes the same steps.
"""

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass

from reelworks.diffusion.philox import Purpose, permutation, stream

DRAW = 2.0
"""Clips to choose from, as a multiple of a step's tokens. Larger wastes less and shuffles less freely."""


@dataclass(frozen=True)
class PackingPlan:
    """One epoch. `steps[s][p]` is the list of indices of the clips of pack p of global step s."""

    steps: list[list[list[int]]]
    tokens: list[int]
    """Tokens of each global step: what its loss is a mean over."""

    def packs_of_rank(self, step: int, rank: int, ranks: int) -> list[list[int]]:
        """Packs r, r + n, … of a step: micro-step j of every rank has packs of nearly equal cost."""
        return self.steps[step][rank::ranks]


def plan_epoch(
    lengths: Sequence[int], budget: int, seed: int, epoch: int, packs_per_step: int, attention_ratio: float
) -> PackingPlan:
    """Plan of one epoch; every clip stands in it once.

    lengths: tokens of each clip; budget: tokens that a pack may hold; attention_ratio: cost of attention relative to
    the linear layers, per token of length (a clip of L tokens costs L + ratio × L²; 0 means tokens alone).
    ValueError where a clip exceeds the budget or the clips can't fill one step.
    """
    too_long = [index for index, length in enumerate(lengths) if length > budget]
    if too_long:
        raise ValueError(f"clip {too_long[0]} has {lengths[too_long[0]]} tokens, more than a pack's {budget}")
    if len(lengths) < packs_per_step:
        raise ValueError(f"{len(lengths)} clips can't fill {packs_per_step} packs")
    costs = [length + attention_ratio * length**2 for length in lengths]
    order = permutation(stream(seed, Purpose.order, "", epoch), len(lengths))
    pool: list[int] = []
    steps = []
    start = 0
    while start < len(order) or pool:
        wanted = DRAW * budget * packs_per_step - sum(lengths[i] for i in pool)
        while start < len(order) and wanted > 0:
            pool.append(order[start])
            wanted -= lengths[order[start]]
            start += 1
        packs, pool = _fill_step(pool, lengths, costs, budget, packs_per_step)
        steps.append(packs)
    _share_with_empty(steps)
    for packs in steps:
        packs.sort(key=lambda pack: (-sum(costs[i] for i in pack), pack))
    return PackingPlan(steps, [sum(lengths[i] for pack in packs for i in pack) for packs in steps])


def _fill_step(
    pool: list[int], lengths: Sequence[int], costs: Sequence[float], budget: int, num_packs: int
) -> tuple[list[list[int]], list[int]]:
    """Take a step's clips from the pool; returns the packs and what stays."""
    chosen, capacity = [], budget * num_packs
    for index in pool:
        if lengths[index] <= capacity:
            chosen.append(index)
            capacity -= lengths[index]
    # The most expensive first, each to the cheapest pack with room for it (longest processing time first).
    packs: list[list[int]] = [[] for _ in range(num_packs)]
    room, cost = [budget] * num_packs, [0.0] * num_packs
    placed = set()
    for index in sorted(chosen, key=lambda i: (-costs[i], i)):
        fitting = [p for p in range(num_packs) if room[p] >= lengths[index]]
        if fitting:
            p = min(fitting, key=lambda p: (cost[p], p))
            packs[p].append(index)
            room[p] -= lengths[index]
            cost[p] += costs[index]
            placed.add(index)
    rest = sorted((lengths[i], i) for i in pool if i not in placed)
    for p in sorted(range(num_packs), key=lambda p: (-room[p], p)):
        room[p] = _close_gap(packs[p], room[p], rest, lengths)
    waiting = {index for _, index in rest}
    return packs, [index for index in pool if index in waiting]


def _close_gap(pack: list[int], room: int, rest: list[tuple[int, int]], lengths: Sequence[int]) -> int:
    """Add what fits best, then exchange one clip for a longer one that fits better; returns the room that stays."""
    while (at := bisect_right(rest, (room, len(lengths)))) > 0:
        length, index = rest.pop(at - 1)
        pack.append(index)
        room -= length
    best: tuple[int, int, int] | None = None
    for place, index in enumerate(pack):
        at = bisect_right(rest, (lengths[index] + room, len(lengths)))
        if at and (gain := rest[at - 1][0] - lengths[index]) > (best[0] if best else 0):
            best = gain, place, at - 1
    if best is not None:
        gain, place, at = best
        leaving = pack[place]
        pack[place] = rest.pop(at)[1]
        insort(rest, (lengths[leaving], leaving))
        room -= gain
    return room


def _share_with_empty(steps: list[list[list[int]]]) -> None:
    """The last step may have fewer clips than packs: it gets some of the fullest packs of the step before.

    Where every pack holds one clip only, that clip is seen twice in this epoch: a rank without tokens can't take part.
    """
    for pack in steps[-1]:
        if not pack:
            donors = [other for packs in steps[-2:] for other in packs]
            fullest = max(donors, key=lambda other: (len(other), other))
            pack.append(fullest.pop() if len(fullest) > 1 else fullest[-1])
