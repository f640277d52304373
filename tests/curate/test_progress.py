"""reelworks.curate.progress: counts that add up whatever fails, and when."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reelworks.curate import progress as progress_module
from reelworks.curate.board import Board, Work, told_actor, told_task
from reelworks.curate.chunk import Chunk, Failure, to_table
from reelworks.curate.progress import Progress, ticking
from reelworks.curate.sources import Source
from reelworks.storage.traffic import count
from tests.curate.run_log import Log

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


def test_a_line_tells_sources_clips_rate_and_kinds_by_stage(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log()
    progress = Progress(4, 1e9, log)
    progress.add(chunk(0, 0, ["quarantined"]))
    progress.add(chunk(1, 0, ["quarantined", "quarantined"]))
    progress.add(chunk(1, 1, ["quarantined", "quarantined"]))
    progress.tick()
    progress.tick()  # nothing moved: nothing is said
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("prepare: 2/4 sources, 0 clips")
    assert line.endswith("2 quarantined (decode: corrupt 2)")
    assert log.values[0]["quarantined_so_far"] == log.values[0]["quarantined.decode.corrupt"] == 2
    assert len(log.values) == 1


def test_each_stage_tells_how_far_it_is_and_when_it_will_be_done(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: clock[0])
    stages: dict[str, Work] = {}
    log = Log()
    progress = Progress(40, 1e9, log, lambda: stages)
    clock[0] += 10
    stages.update(index=Work(20, 60, 5_000_000, 1000), latents=Work(10, 30, 0, 2_000_000))
    progress.tick()
    values = log.values[-1]
    assert (values["index.done"], values["index.total"], values["index.per_s"], values["index.left_s"]) == (
        20,
        40,
        2,
        10,
    )
    # 60 clips of half of the sources: 120 are expected, 30 are done at 3 a second.
    assert (values["latents.total"], values["latents.left_s"], values["latents.bytes_written"]) == (120, 30, 2e6)
    assert values["bytes_read"] >= 5e6 and "captions.done" not in values and "left_s" not in values
    _, index, latents = capsys.readouterr().out.splitlines()
    assert index.split() == "index 20 of 40 sources, 2.0/s, 10 s left, 5.0 MB in, 0.0 MB out".split()
    assert latents.split() == "latents 30 of about 120 clips, 3.0/s, 30 s left, 0.0 MB in, 2.0 MB out".split()


def test_the_estimate_forgets_how_fast_stored_results_flew_by(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: clock[0])
    done = [0]
    log = Log()
    progress = Progress(2000, 1e9, log, lambda: {"index": Work(sources=done[0])})
    for second in range(1, 200):
        clock[0], done[0] = float(second), 1000 if second < 10 else 1000 + second
        progress.tick()
    assert log.values[-1]["index.per_s"] == pytest.approx(1.0, rel=0.05)


def test_a_slow_stage_is_told_of_while_no_chunk_finishes() -> None:
    stages, log = {"index": Work(1, 2)}, Log()
    with ticking(Progress(4, 0.01, log, lambda: stages)):
        deadline = time.monotonic() + 20
        while not log.values and time.monotonic() < deadline:
            time.sleep(0.01)
        assert log.values[0]["index.done"] == 1


def test_a_stage_that_tells_the_board_keeps_its_name_and_its_result() -> None:
    told: list[tuple[str, Work]] = []
    board = SimpleNamespace(add=SimpleNamespace(remote=lambda stage, work: told.append((stage, work))))

    class Doubling:
        def __init__(self, plan: str):
            self.plan = plan

        def __call__(self, table: pa.Table) -> pa.Table:
            count(read=5, written=7)
            return pa.concat_tables([table, table])

    def same(table: pa.Table, plan: str) -> pa.Table:
        return table

    table = to_table([chunk(0, 0, ["clips", "clips"]), chunk(0, 1, ["clips", "clips"])])
    actor, task = told_actor("latents", Doubling, board), told_task("index", same, board)  # type: ignore[arg-type]
    assert (actor.__name__, task.__name__) == ("Doubling", "same")
    assert actor(plan="p")(table).num_rows == 4 and pa.concat_tables(task(table, plan="p")).equals(table)
    (first, latents), (second, index) = told
    assert (first, latents.sources, latents.bytes_read, latents.bytes_written) == ("latents", 2, 5, 7)
    assert (second, index.sources, index.clips) == ("index", 1, 0) and latents.busy_s > 0
    sums = Board()
    for stage, work in [*told, *told]:
        sums.add(stage, work)
    assert sums.read()["latents"].bytes_written == 14


def test_a_task_gives_each_row_away_before_it_begins_the_next() -> None:
    board = SimpleNamespace(add=SimpleNamespace(remote=lambda stage, work: told.append(work)))
    told: list[Work] = []
    begun: list[int] = []

    def cut(table: pa.Table, plan: str) -> pa.Table:
        begun.append(table.num_rows)
        return pa.concat_tables([table, table])

    table = to_table([chunk(number, 0, ["clips"]) for number in range(3)])
    results = told_task("decode", cut, board)(table, plan="p")  # type: ignore[arg-type]
    assert next(results).num_rows == 2 and begun == [1] and not told
    assert [result.num_rows for result in results] == [2, 2]
    assert begun == [1, 1, 1] and [work.sources for work in told] == [6]
