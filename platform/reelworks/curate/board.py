"""What every stage of a running `prepare` has done so far, told by its workers and read by the driver."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from functools import wraps
from typing import Any

import pyarrow as pa
import ray
from ray.exceptions import RayError

from reelworks import storage
from reelworks.curate.chunk import from_table
from reelworks.curate.plan import Plan

# A driver that waits longer for a number to show has something better to do.
READ_SECONDS = 2.0


@dataclass(frozen=True)
class Work:
    """What a stage did, in one call or in all of them; work that was repeated after a crash counts again."""

    sources: int = 0  # whose first chunk passed
    clips: int = 0  # dropped ones included: else what is left would never come
    bytes_read: int = 0
    bytes_written: int = 0
    busy_s: float = 0.0  # of all workers together

    def __add__(self, other: Work) -> Work:
        return Work(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


class Board:
    """The sums by stage; one small actor a run. If it is lost the run goes on and the sums begin again."""

    def __init__(self) -> None:
        self._stages: dict[str, Work] = {}

    def add(self, stage: str, work: Work) -> None:
        self._stages[stage] = self._stages.get(stage, Work()) + work

    def read(self) -> dict[str, Work]:
        return self._stages


class Told:
    """Mixed in front of a stage's actor: tells the board what each call did. The board's handle is a class attribute,
    since Ray Data constructs the actor."""

    told_stage: str
    told_board: Any

    def __call__(self, table: pa.Table) -> pa.Table:
        with _measured() as measured:
            result: pa.Table = super().__call__(table)  # type: ignore[misc]  # the stage's actor
        self.told_board.add.remote(self.told_stage, measured(result))
        return result


def told_actor(stage: str, actor: type, board: Any) -> type:
    """A stage's actor that tells the board, under its own name: Ray's messages go on naming the stage."""
    return type(actor.__name__, (Told, actor), {"told_stage": stage, "told_board": board})


def told_task(stage: str, work: Callable[[pa.Table, Plan], pa.Table], board: Any) -> Callable[..., Iterator[pa.Table]]:
    """A stage's function that tells the board, under its own name.

    Row after row, each given away before the next is begun: the frames of one chunk stand in memory, not of all.
    """

    @wraps(work)
    def call(table: pa.Table, plan: Plan) -> Iterator[pa.Table]:
        done = Work()
        for row in range(table.num_rows):
            with _measured() as measured:
                result = work(table.slice(row, 1), plan)
            done += measured(result)
            yield result
            del result
        board.add.remote(stage, done)

    return call


@contextmanager
def _measured() -> Iterator[Callable[[pa.Table], Work]]:
    """A function that says, of the block that came out, what was done since."""
    begun_s, before = time.monotonic(), storage.moved()

    def work(result: pa.Table) -> Work:
        after, chunks = storage.moved(), from_table(result)
        return Work(
            sources=sum(chunk.number == 0 for chunk in chunks),
            clips=sum(chunk.num_clips for chunk in chunks),
            bytes_read=after.read - before.read,
            bytes_written=after.written - before.written,
            busy_s=time.monotonic() - begun_s,
        )

    yield work


def new_board() -> Any:
    """The board of a run, on no CPU of anybody's."""
    return ray.remote(Board).options(num_cpus=0, max_restarts=1).remote()


def read_board(board: Any) -> dict[str, Work]:
    """The sums by stage; empty where the board can't be reached now."""
    try:
        stages: dict[str, Work] = ray.get(board.read.remote(), timeout=READ_SECONDS)
    except RayError:
        return {}
    return stages
