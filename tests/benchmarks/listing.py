"""`python -m tests.benchmarks.listing`: what the driver of `prepare` holds while it lists a million sources.

A prefix and a hundred prefixes with a sidecar beside each source, and manifests as Parquet and as JSON Lines that name
such sources, go through the driver's own function, each in a fresh process with FEW and with MANY sources. The bucket's
answers are made up on the spot, so that the memory is the driver's; the figure is the difference of the two peaks
(VmHWM) over the difference of the sources, and must not exceed LIMIT_BYTES. Takes some four minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import sys
import tempfile
import time
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq

from reelworks import storage
from reelworks.curate.listing import listed_sources
from reelworks.curate.sources import list_sources
from reelworks.storage import objects
from tests.benchmarks.record import record
from tests.curate.pages import Pages

FEW, MANY = 50_000, 1_000_000
LIMIT_BYTES = 64
PREFIXES = {"prefix": 1, "prefixes": 100}
MANIFESTS = ("parquet", "jsonl")
FOLDER = 1000
"""Sources of a folder, of those that manifests name."""


def write_manifest(path: Path, count: int) -> None:
    """Rows with a caption each; Parquet as its writer divides it by default, a million rows in one group."""
    uris = [f"s3://b/{n // FOLDER:06d}/{n % FOLDER:08d}.mp4" for n in range(count)]
    captions = [f"a thing that moves, number {n}" for n in range(count)]
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"uri": uris, "caption": captions}), path)
        return
    with path.open("w") as file:
        for uri, caption in zip(uris, captions, strict=True):
            file.write(json.dumps({"uri": uri, "caption": caption}) + "\n")


def serve(pipe: Connection, what: str, count: int, manifest: Path) -> None:
    """List so many sources, and tell the peak memory of this process and the seconds."""
    prefixes = PREFIXES.get(what, 0)
    places = [f"s3://b/{n:03d}/" for n in range(prefixes)] or [f"s3://b/m.{what}"]
    pages = Pages(2 * count // prefixes if prefixes else 2 * FOLDER)
    with (
        patch.object(objects, "s3", lambda: pages),
        patch.object(storage, "open_ranged", lambda *_, **__: manifest.open("rb")),
    ):
        assert not any(source.problem for source in islice(list_sources(places), FEW))
        begun_s = time.monotonic()
        assert listed_sources(places).count == count
        seconds = time.monotonic() - begun_s
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak
    pipe.send((int(peak[1]) * 1024, seconds))


def measure(what: str, count: int, folder: Path) -> tuple[int, float]:
    """(peak bytes, seconds) of a fresh process."""
    manifest = folder / f"{count}.{what}"
    if what in MANIFESTS:
        write_manifest(manifest, count)
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, what, count, manifest))
    process.start()
    theirs.close()
    told: tuple[int, float] = ours.recv()
    process.join()
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=int, default=MANY, help=f"of the longer listings; above {FEW:,}")
    many = parser.parse_args().sources
    figures: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="rw") as place:
        for what in (*PREFIXES, *MANIFESTS):
            few_peak, _ = measure(what, FEW, Path(place))
            peak, seconds = measure(what, many, Path(place))
            figures[what] = {
                "bytes_a_source": round((peak - few_peak) / (many - FEW), 1),
                "sources_per_second": round(many / seconds),
                "peak_mb": round(peak / 1e6),
            }
            print(what, figures[what], flush=True)
    record("listing", {"sources": many, "limit_bytes_a_source": LIMIT_BYTES, "listings": figures})
    return int(max(one["bytes_a_source"] for one in figures.values()) > LIMIT_BYTES)


if __name__ == "__main__":
    sys.exit(main())
