"""reelworks.curate.manifest: rows of any quality, in memory that is bounded."""

from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reelworks import storage
from reelworks.curate import lookup
from reelworks.curate.listing import listed_sources
from reelworks.curate.manifest import BATCH_ROWS, MAX_LINE_BYTES, Row, json_rows, parquet_rows, read_manifest_rows
from reelworks.curate.pairing import Source
from reelworks.errors import UserError

NAME = "s3://b/m.jsonl"


def from_json(*lines: str) -> list[Row]:
    data = "\n".join(lines).encode("utf-8", "surrogatepass")
    return [row for batch in json_rows(io.BytesIO(data), NAME) for row in batch]


def from_parquet(table: pa.Table) -> list[Row]:
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=2)
    return [row for batch in parquet_rows(io.BytesIO(file.getvalue()), "s3://b/m.parquet") for row in batch]


def said(row: Row) -> tuple[Any, ...]:
    return row.uri, row.caption, row.etag, row.size, row.problem


def test_both_kinds_say_the_same_and_number_their_rows_from_one() -> None:
    rows = [
        {"uri": "s3://b/a.mp4", "caption": "a dog", "etag": '"e1"', "size": 5},
        {"uri": "s3://b/b é.mp4", "caption": "", "etag": None, "size": None},
        {"uri": "s3://b/c", "caption": None, "etag": None, "size": 7},
    ]
    lines = [json.dumps(rows[0] | {"width": 3}), "", *map(json.dumps, rows[1:])]
    expected = [
        ("s3://b/a.mp4", "a dog", "e1", 5, None),
        ("s3://b/b é.mp4", None, None, None, None),
        ("s3://b/c", None, None, 7, None),
    ]
    jsonl, parquet = from_json(*lines), from_parquet(pa.Table.from_pylist([row | {"width": 3} for row in rows]))
    assert [said(row) for row in jsonl] == [said(row) for row in parquet] == expected
    assert [row.digest for row in jsonl] == [row.digest for row in parquet]
    assert [row.address for row in jsonl] == [f"{NAME}#1", f"{NAME}#3", f"{NAME}#4"]
    assert [row.place for row in parquet] == [f"s3://b/m.parquet, row {n}," for n in (1, 2, 3)]


def test_missing_values_of_tables_that_passed_through_pandas_are_no_values() -> None:
    table = pa.table({"uri": ["s3://b/a", "s3://b/b"], "size": pa.array([5.0, float("nan")])})
    assert [row.size for row in from_parquet(table)] == [5, None]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "no JSON"),
        ('"s3://b/a.mp4"', "no object with a uri"),
        ("{}", "its uri is None"),
        ('{"uri": 3}', "its uri is 3"),
        ('{"uri": "a.mp4"}', "no s3://bucket/key"),
        ('{"uri": "s3://b/folder/"}', "no s3://bucket/key"),
        ('{"uri": "s3://b/a\\u0000.mp4"}', "no s3://bucket/key"),
        ('{"uri": "s3://a bucket/a.mp4"}', "no s3://bucket/key"),
        (json.dumps({"uri": "s3://b/" + "k" * 1100}), "no s3://bucket/key"),
        ('{"uri": "s3://b/a", "caption": ["x"]}', "its caption is"),
        ('{"uri": "s3://b/a", "caption": "\\ud800"}', "surrogate"),
        ('{"uri": "s3://b/a", "size": -1}', "its size is -1"),
        ('{"uri": "s3://b/a", "size": true}', "its size is True"),
        ('{"uri": "s3://b/a", "size": 1.5}', "its size is 1.5"),
        ('{"uri": "s3://b/a", "size": 1e999}', "its size is inf"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_a_malformed_row_says_why_and_costs_no_other_row(line: str, problem: str) -> None:
    good = '{"uri": "s3://b/a.mp4"}'
    first, bad, last = from_json(good, line, good)
    assert (first.problem, last.problem) == (None, None)
    assert bad.problem and problem in bad.problem
    assert bad.place == f"{NAME}, line 2,"
    bad.problem.encode()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=40), st.text(max_size=40).map(str.encode)), max_size=6))
def test_no_bytes_make_the_reading_of_a_manifest_fail(lines: list[bytes]) -> None:
    rows = [row for batch in json_rows(io.BytesIO(b"\n".join(lines)), NAME) for row in batch]
    assert all(row.problem for row in rows)


def test_a_line_without_end_is_refused_with_its_number() -> None:
    with pytest.raises(UserError, match="line 2, is longer than"):
        from_json("{}", "x" * (MAX_LINE_BYTES + 2))


def test_a_parquet_file_without_addresses_or_without_its_bytes_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"m.parquet has no column uri, but url"):
        from_parquet(pa.table({"url": ["s3://b/a"]}))
    file = io.BytesIO()
    pq.write_table(pa.table({"uri": [f"s3://b/{i}" for i in range(9)]}), file)
    data = bytearray(file.getvalue())
    with pytest.raises(UserError, match="m.parquet can't be read as Parquet after row 0"):
        list(parquet_rows(io.BytesIO(data[:-3]), "s3://b/m.parquet"))
    data[10:60] = bytes(50)
    with pytest.raises(UserError, match="m.parquet can't be read as Parquet after row 0"):
        list(parquet_rows(io.BytesIO(data), "s3://b/m.parquet"))


@pytest.mark.parametrize("name", ["m.jsonl", "m.parquet"])
def test_a_manifest_that_is_not_there_is_the_users_error(prefix: str, name: str) -> None:
    with pytest.raises(UserError, match=f"{name} can't be read: not_found"):
        list(read_manifest_rows(f"{prefix}/{name}"))


def test_a_row_group_is_not_read_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    captions = [f"{i:02000d}" for i in range(10_000)]
    table = pa.table({"uri": [f"s3://b/{i}" for i in range(10_000)], "caption": captions})
    pq.write_table(table, path, row_group_size=10_000, use_dictionary=False, compression="none")
    del table
    before, most = pa.total_allocated_bytes(), 0
    with path.open("rb") as file:
        for _ in parquet_rows(file, "s3://b/m.parquet"):
            most = max(most, pa.total_allocated_bytes() - before)
    assert path.stat().st_size > 20e6
    assert most < 15e6


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_listing_a_manifest_takes_at_most_64_bytes_a_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    def peak_bytes(count: int) -> int:
        path, uris = tmp_path / f"{count}.{kind}", [f"s3://b/some/folder/{i}.mp4" for i in range(count)]
        if kind == "parquet":
            pq.write_table(pa.table({"uri": uris}), path)
        else:
            path.write_text("".join(json.dumps({"uri": uri}) + "\n" for uri in uris))
        del uris
        monkeypatch.setattr(storage, "open_ranged", lambda *_, **__: path.open("rb"))
        tracemalloc.start()
        assert listed_sources([f"s3://b/m.{kind}"]).count == count
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    def everything_is_there(uris: list[str]) -> dict[str, Source]:
        return {uri: Source(uri, "e", 1) for uri in uris}

    monkeypatch.setattr(lookup, "look_up", everything_is_there)
    few, many = 2 * BATCH_ROWS, 6 * BATCH_ROWS
    assert peak_bytes(many) - peak_bytes(few) < 64 * (many - few)
