"""reelworks.curate.commit, tensors, caption: bytes that are the same in every process, snapshots that commit once."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reelworks import schema, storage
from reelworks.curate import commit as commit_module
from reelworks.curate.commit import Spool, commit, parquet_bytes, write_parts
from reelworks.curate.filters import Filters
from reelworks.curate.plan import Plan
from reelworks.curate.recipe import PrepareRecipe
from reelworks.curate.selection import select
from reelworks.curate.snapshot import read_snapshot, resolve_snapshot
from reelworks.curate.tensors import locate, pack
from reelworks.errors import UserError

STORED_KINDS = """
import hashlib, torch
from tests.curate.test_commit import rows
import pyarrow as pa
from reelworks import schema
from reelworks.curate.caption import captions_object
from reelworks.curate.commit import parquet_bytes
from reelworks.curate.scores import scores_object
from reelworks.curate.tensors import pack
tensors = {f"t{i}": torch.arange(6 * i, dtype=torch.float32).reshape(-1, 3) + i for i in range(1, 9)}
kinds = [
    pack(tensors | {"b": torch.ones(3, dtype=torch.bfloat16)}, {"moments": {"count": 3, "sum": 0.5, "squares": 0.25}}),
    captions_object(["a", "b"], {"short": ["x", "y"], "descriptive": ["é", ""]}, ["1", "2"]),
    scores_object(["a", "b"], [{"motion": 0.5, "luma": 3.0}, {"luma": 0.1}], ["00ff", None]),
    parquet_bytes(pa.Table.from_pylist(rows(50), schema.CLIP)),
]
print([hashlib.sha256(kind).hexdigest() for kind in kinds])
"""


def rows(count: int) -> list[dict[str, Any]]:
    numbers = {name: 1 for name in schema.ClipRow._fields[4:]}
    return [
        {
            **numbers,
            "clip_id": str(uuid.UUID(bytes=hashlib.md5(str(i).encode()).digest())),
            "source_id": f"s{i % 7}",
            "source_uri": "s3://b/k",
            "source_etag": "e",
            "scores": [],
            "tensors": [],
        }
        for i in range(count)
    ]


def plan(root: str) -> Plan:
    stage = {"source": "x"}
    values = {"name": "n", "root": root, "snapshot": "world", "sources": ["s3://raw/"], "text": stage, "vae": stage}
    return Plan(PrepareRecipe.model_validate(values), {}, {"index": "i"})


def test_every_kind_of_object_has_the_same_bytes_in_two_processes() -> None:
    root = Path(__file__).parents[2]
    outputs = {
        subprocess.run(
            [sys.executable, "-c", STORED_KINDS], check=True, capture_output=True, cwd=root, text=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": f"{root / 'platform'}:{root}", "PATH": ""},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(outputs) == 1


def test_tensors_are_located_at_their_bytes() -> None:
    import torch

    tensors = {"b": torch.arange(12.0).reshape(3, 4), "a": torch.arange(5.0), "c": torch.ones(2, dtype=torch.bfloat16)}
    data = pack(tensors, {"moments": 1})
    places, about = locate("s3://b/k", data)
    assert about["moments"] == 1 and set(places) == set(tensors)
    for name, place in places.items():
        part = data[place["offset"] : place["offset"] + place["length"]]
        assert hashlib.sha256(part).hexdigest() == place["digest"]
        dtype = getattr(torch, place["dtype"])
        assert torch.equal(torch.frombuffer(bytearray(part), dtype=dtype).reshape(place["shape"]), tensors[name])


@pytest.mark.parametrize(("part_rows", "prefixes"), [(100, 1), (30, 16), (3, 256)])
def test_parts_do_not_depend_on_the_order_in_which_rows_came(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part_rows: int, prefixes: int
) -> None:
    monkeypatch.setattr(commit_module, "PART_ROWS", part_rows)
    found = []
    for name, order in (("up", rows(100)), ("down", rows(100)[::-1])):
        (tmp_path / name).mkdir()
        spool = Spool(tmp_path / name)
        for row in order:
            spool.add([row])
        found.append(write_parts(plan(prefix), spool, select(spool.columns(), {"s3"}, Filters())))
    (parts, counts), other = found
    assert (parts, counts) == other
    assert counts["clips"] == sum(part["rows"] for part in parts) == sum(row["source_id"] != "s3" for row in rows(100))
    assert 1 <= len(parts) <= prefixes and (part_rows == 100 or len(parts) > 8)
    ids = []
    for part in parts:
        table = pq.read_table(io.BytesIO(storage.get_bytes(f"{prefix}/{part['key']}")))
        ids += table["clip_id"].to_pylist()
        assert all(clip_id.startswith(part["prefix"]) for clip_id in table["clip_id"].to_pylist())
    assert ids == sorted(ids)


def test_a_snapshot_is_committed_once_and_names_its_parent(prefix: str) -> None:
    content = {"parts": [], "counts": {"clips": 0}}
    first, made = commit(plan(prefix), content)
    assert (made, first.number) == (True, 1)
    assert commit(plan(prefix), content) == (first, False)
    second, made = commit(plan(prefix), {**content, "counts": {"clips": 1}})
    assert (made, second.number) == (True, 2)
    assert read_snapshot(prefix, "world@2").manifest["parent"] == first.id
    assert str(resolve_snapshot(prefix, "world@latest")) == str(second)


def test_a_writer_that_lost_the_number_commits_after_the_winner(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    winner, _ = commit(plan(prefix), {"parts": [], "who": "first"})
    # As if both had looked before either wrote.
    monkeypatch.setattr(commit_module, "newest_number", lambda root, name: 0)
    loser, made = commit(plan(prefix), {"parts": [], "who": "second"})
    assert (loser.number, made) == (2, True)
    assert read_snapshot(prefix, "world@2").manifest["parent"] == winner.id
    equal, made = commit(plan(prefix), {"parts": [], "who": "first"})
    assert (equal, made) == (winner, False)


def test_a_part_that_was_exchanged_is_not_read(prefix: str, tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.add(rows(3))
    parts, _ = write_parts(plan(prefix), spool, select(spool.columns(), (), Filters()))
    ref, _ = commit(plan(prefix), {"parts": parts})
    assert read_snapshot(prefix, ref).clips.num_rows == 3
    uri = f"{prefix}/{parts[0]['key']}"
    found = storage.head(uri)
    assert found
    storage.swap(uri, found.etag, parquet_bytes(pa.Table.from_pylist(rows(2), schema.CLIP)))
    with pytest.raises(UserError, match="not what the snapshot committed"):
        read_snapshot(prefix, ref)
