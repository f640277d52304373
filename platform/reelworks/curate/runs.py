"""Runs of `prepare` that have not ended, so that `dataset gc` leaves them the stored results that they build on.

An old result that no snapshot holds any more may be taken over by a run that is at work: its age doesn't protect it.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from reelworks import storage
from reelworks.curate.plan import Plan
from reelworks.curate.quarantine import read_if_there
from reelworks.curate.repeat import repeated
from reelworks.errors import StorageError

RUNS = "runs"
RENEW_S = 3600.0
# A run whose record is older is dead: no store is away for a day of tries.
DEAD_AFTER_S = 86_400.0


@dataclass(frozen=True)
class LiveRun:
    """A run that has begun and not ended."""

    key: str  # below the root
    fingerprints: dict[str, str]  # stage -> whose results it may take over


@contextmanager
def announced(plan: Plan, run_id: str) -> Iterator[None]:
    """Around a run, from before it looks at what is stored until its snapshot is there.

    A run that fails leaves its record: it is likely to be tried again, under the same id, and then takes it away.
    """
    mine = plan.uri(f"{RUNS}/{run_id}/")
    uri = f"{mine}{uuid.uuid4().hex}"  # one for each attempt: a dead one's is not renewed
    etag = _create(uri, plan)

    def renew() -> None:
        """Write the record again, so that its age tells whether the run is alive."""
        nonlocal etag
        try:
            etag = storage.swap(uri, etag, _record(plan)) or _create(uri, plan)
        except StorageError as error:
            print(f"prepare: {uri} could not be renewed ({error}); tried again in {RENEW_S:.0f} s", flush=True)

    with repeated(renew, RENEW_S, "announce"):
        yield
    storage.delete_prefix(mine)


def _create(uri: str, plan: Plan) -> str:
    return storage.create_once(uri, _record(plan)).etag


def _record(plan: Plan) -> bytes:
    # Equal bytes have equal ETags, so every record has a nonce.
    return json.dumps({"fingerprints": dict(plan.fingerprints), "nonce": uuid.uuid4().hex}, sort_keys=True).encode()


def live_runs(root: str, now_s: float) -> Iterator[LiveRun]:
    """The runs of a data set that have begun and not ended; now_s is the store's time."""
    for found in storage.list_objects(f"{root}/{RUNS}/"):
        if now_s - found.modified_s < DEAD_AFTER_S:
            data = read_if_there(found.uri)
            if data is None:
                continue  # it has ended meanwhile
            fingerprints = json.loads(data)["fingerprints"]
            yield LiveRun(found.uri.removeprefix(f"{root}/"), fingerprints)
