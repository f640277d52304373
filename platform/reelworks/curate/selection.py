"""Which rows of a run enter its snapshot: decided over all of them, when nothing more can come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from reelworks import schema
from reelworks.curate.duplicates import find_duplicates
from reelworks.curate.filters import DUPLICATE, Filters, out_of_bounds
from reelworks.curate.likeness import WORDS, words

# What the decision reads of a row; the rest, captions and tensors, stays on disk.
COLUMNS = (
    "clip_id", "source_id", "start_s", "end_s", "native_width", "native_height", "native_num_frames", "scores",
    "likeness",
)  # fmt: skip


@dataclass(frozen=True)
class Selection:
    """A decision about every row; tells of any table of these rows which stay and why the others don't."""

    left_out: frozenset[str]
    """Sources of which nothing enters, and nothing is counted."""
    filters: Filters
    duplicates: np.ndarray
    """Clip ids, 16 bytes each, sorted (D,)."""
    originals: np.ndarray
    """The clip that stays for each of them (D,)."""
    reasons: Counter[str]
    """Reason -> clips dropped."""
    num_kept: int

    @property
    def num_dropped(self) -> int:
        return self.reasons.total()

    def counts(self) -> dict[str, int]:
        """What a manifest says of the dropped clips; every filter that is on has its number, be it 0."""
        on = [*self.filters.bounds(), *([DUPLICATE] if self.filters.duplicate_bits is not None else [])]
        return {"dropped": self.num_dropped} | {f"dropped_{name}": self.reasons[name] for name in on}

    def kept(self, rows: pa.Table) -> pa.Table:
        """Those of the rows (schema.CLIP) that enter the snapshot."""
        present, reasons, _, _ = self._judge(rows)
        return rows.filter(pa.array(present & (reasons == "")))

    def dropped(self, rows: pa.Table) -> pa.Table:
        """The others, with the reason of each (schema.DROPPED)."""
        present, reasons, values, originals = self._judge(rows)
        gone = np.flatnonzero(present & (reasons != ""))
        columns = {name: rows[name].take(gone) for name in schema.DROPPED.names if name in rows.column_names}
        columns["reason"] = pa.array(reasons[gone], pa.string())
        columns["value"] = pa.array(values[gone], pa.float64(), from_pandas=True)
        columns["duplicate_of"] = pa.array(originals[gone], pa.string())
        return pa.table(columns, schema=schema.DROPPED)

    def _judge(self, rows: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        present = _present(rows, self.left_out)
        reasons, values = out_of_bounds(rows, self.filters)
        originals = np.full(rows.num_rows, None, object)
        if len(self.duplicates):
            ids = _id_bytes(rows)
            place = np.searchsorted(self.duplicates, ids).clip(max=len(self.duplicates) - 1)
            copies = np.flatnonzero((self.duplicates[place] == ids) & (reasons == ""))
            reasons[copies] = DUPLICATE
            originals[copies] = [_id_text(one) for one in self.originals[place[copies]]]
        return present, reasons, values, originals


def select(tables: Iterable[pa.Table], left_out: Iterable[str], filters: Filters) -> Selection:
    """Decide over rows that come in tables of COLUMNS, in any order and any division.

    Duplicates are looked for among the clips that pass the thresholds. Memory: 72 bytes a clip, with duplicate_bits.
    """
    sources = frozenset(left_out)
    reasons: Counter[str] = Counter()
    ids, hashes, pixels = [np.empty(0, "S16")], [np.empty((0, WORDS), np.uint64)], [np.empty(0, np.int64)]
    num_kept = 0
    for table in tables:
        table = table.filter(pa.array(_present(table, sources)))
        found, _ = out_of_bounds(table, filters)
        reasons.update(found[found != ""].tolist())
        table = table.filter(pa.array(found == ""))
        num_kept += table.num_rows
        if filters.duplicate_bits is not None:
            table = table.filter(table["likeness"].is_valid())
            ids.append(_id_bytes(table))
            hashes.append(words(table["likeness"].to_pylist()))
            pixels.append(_pixels(table))
    copies, originals = np.empty(0, "S16"), np.empty(0, "S16")
    if filters.duplicate_bits is not None:
        every = np.concatenate(ids)
        dropped, stays = find_duplicates(every, np.concatenate(hashes), np.concatenate(pixels), filters.duplicate_bits)
        order = np.argsort(every[dropped])
        copies, originals = every[dropped][order], every[stays][order]
        reasons[DUPLICATE], num_kept = len(copies), num_kept - len(copies)
    return Selection(sources, filters, copies, originals, +reasons, num_kept)


def _present(rows: pa.Table, left_out: frozenset[str]) -> np.ndarray:
    if not left_out:
        return np.ones(rows.num_rows, bool)
    return np.fromiter((source not in left_out for source in rows["source_id"].to_pylist()), bool, rows.num_rows)


def _pixels(rows: pa.Table) -> np.ndarray:
    names = ("native_width", "native_height", "native_num_frames")
    width, height, frames = (np.asarray(rows[name].to_numpy(), np.int64) for name in names)
    return width * height * frames


def _id_bytes(rows: pa.Table) -> np.ndarray:
    """Clip ids (uuids) as 16 bytes each, comparable as the texts are."""
    return np.frombuffer(bytes.fromhex("".join(rows["clip_id"].to_pylist()).replace("-", "")), "S16")


def _id_text(data: bytes) -> str:
    text = data.ljust(16, b"\0").hex()  # NumPy strips zeros off the end of bytes
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
