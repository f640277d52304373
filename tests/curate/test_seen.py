"""reelworks.curate.seen: a set in few bytes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from reelworks.curate.seen import WAITING, Seen


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.integers(0, 40_000), max_size=60), max_size=12), st.integers(0, 3))
def test_seen_is_a_set(batches: list[list[int]], large: int) -> None:
    seen, expected = Seen(), set()
    for batch in [*batches[:3], *([list(range(n * WAITING, (n + 1) * WAITING)) for n in range(large)]), *batches[3:]]:
        new = []
        for number in batch:
            new.append(number not in expected)
            expected.add(number)
        assert seen.add([str(number) for number in batch]) == new
    assert seen.has([str(number) for number in range(0, 40_000, 7)]) == [n in expected for n in range(0, 40_000, 7)]
