"""reelworks.curate.progress: counts that add up whatever fails, and when."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reelworks.curate.chunk import Chunk, Failure
from reelworks.curate.progress import Progress
from reelworks.curate.sources import Source
from tests.curate.conftest import Log

STATES = st.sampled_from(["clips", "quarantined", "changed"])
SOURCES = st.lists(st.one_of(st.lists(STATES, min_size=1, max_size=4), st.just(["no_clips"])), min_size=1, max_size=12)


def chunk(source: int, number: int, states: list[str]) -> Chunk:
    failure = Failure("decode", "corrupt", "bad") if states[number] == "quarantined" else None
    at = Source(f"s3://b/{source}", "e", 1)
    state = states[number]
    return Chunk(at, [], number, len(states), state, 10, failure)  # type: ignore[arg-type]


@settings(max_examples=200, deadline=None)
@given(SOURCES, st.randoms())
def test_counts_add_up_for_any_failures_in_any_order(sources: list[list[str]], random: object) -> None:
    progress = Progress(len(sources), 1e9, Log())
    chunks = [chunk(i, n, states) for i, states in enumerate(sources) for n in range(len(states))]
    random.shuffle(chunks)  # type: ignore[attr-defined]
    for one in chunks:
        progress.add(one)
    quarantined = sum("quarantined" in states for states in sources)
    changed = sum("changed" in states and "quarantined" not in states for states in sources)
    no_clips = sum(states == ["no_clips"] for states in sources)
    good = len(sources) - quarantined - changed - no_clips
    assert progress.source_counts() == {
        "sources": len(sources),
        "with_clips": good,
        "no_clips": no_clips,
        "quarantined": quarantined,
        "changed": changed,
    }
    assert progress.shots == 10 * (good + no_clips)


def test_a_lost_chunk_is_an_error_and_not_a_smaller_snapshot() -> None:
    progress = Progress(1, 1e9, Log())
    progress.add(chunk(0, 0, ["clips", "clips"]))
    with pytest.raises(RuntimeError, match="sources went in"):
        progress.source_counts()


def test_a_line_tells_sources_clips_rate_and_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log()
    progress = Progress(4, 0.0, log)
    progress.add(chunk(0, 0, ["quarantined"]))
    progress.tick()
    progress.tick(force=True)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("prepare: 1/4 sources, 0 clips") and line.endswith("1 quarantined (corrupt 1)")
    assert log.values[0]["quarantined_so_far"] == 1
