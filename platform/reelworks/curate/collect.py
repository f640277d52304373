"""`reelworks dataset gc`: removes what neither a kept snapshot nor a recent run reaches.

Kept are all snapshots, or with `keep` the newest of each name and those that a model or a run in MLflow was trained on.
Nothing younger than `older_than_s` goes, nor what a run that has not ended may take over (runs.py). A run that begins
or commits meanwhile ends the collection. It can be killed anywhere: a manifest goes before what it stands on, and what
is left over goes the next time.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

from reelworks import storage, tracking
from reelworks.curate.quarantine import read_if_there
from reelworks.curate.reach import BY_SOURCE, Reach, parse
from reelworks.curate.runs import RUNS, live_runs
from reelworks.curate.snapshot import list_snapshots, manifest_uri, read_link, read_manifest, removed_uri
from reelworks.errors import UserError

REQUESTS_AT_ONCE = 8
SNAPSHOTS = "snapshots"


@dataclass(frozen=True)
class Rules:
    """What a collection may take."""

    older_than_s: float
    """Younger objects stay."""
    keep: int | None = None
    """Snapshots of each name that stay, the newest; left out: all."""
    delete: bool = False
    """Without it nothing is changed."""


@dataclass
class Tally:
    """What was, or would be, removed, and what stays although no snapshot reaches it."""

    objects: Counter[str] = field(default_factory=Counter)  # first part of the key -> objects
    size: Counter[str] = field(default_factory=Counter)  # first part of the key -> bytes
    stays: Counter[str] = field(default_factory=Counter)  # why -> objects

    def lines(self, delete: bool) -> Iterator[str]:
        total = f"{self.objects.total():,} objects, {self.size.total() / 1e6:,.1f} MB"
        yield f"{total} {'were' if delete else 'would be'} removed" + ("" if delete else "; --delete does it")
        for stage, count in sorted(self.objects.items()):
            yield f"  {stage:16} {count:>10,} objects {self.size[stage] / 1e6:>12,.1f} MB"
        yield from (f"  {count:,} stay: {why}" for why, count in sorted(self.stays.items()))


def gc(root: str, rules: Rules) -> str:
    """Collect under a data set's root; what was done, for a person. Memory: 16 bytes an object of kept snapshots.

    Raises UserError where a snapshot can't be read, where MLflow must be asked and isn't named, and where a run began
    or committed meanwhile.
    """
    if rules.keep is not None and rules.keep < 1:
        raise UserError(f"{rules.keep} snapshots can't be kept", "keep at least 1 of each name")
    return Collection(root.rstrip("/"), rules).run()


class Collection:
    """One pass over a data set."""

    def __init__(self, root: str, rules: Rules):
        self.root, self.rules = root, rules
        # Looked at before anything else: what comes later is seen as new.
        self._known = self._look()
        self.now_s = storage.clock_s(root)
        self.runs = list(live_runs(root, self.now_s))
        self.reach = Reach(root)
        self.tally = Tally()
        self.notes: list[str] = []

    def run(self) -> str:
        """Do it; what was done, for a person."""
        kept, gone = self.choose()
        for name, number in kept:
            self.reach.take_in(read_manifest(self.root, f"{name}@{number}")[1])
        for name, number in gone:
            self.drop_snapshot(name, number)
        listed = storage.list_objects(f"{self.root}/")
        while page := list(islice(listed, storage.DELETED_AT_ONCE)):
            self.sweep(page)
        removed = f"; {', '.join(f'{name}@{number}' for name, number in gone)} go" if gone else ""
        lines = [f"kept under {self.root}: {len(kept)} of {len(kept) + len(gone)} snapshots{removed}", *self.notes]
        lines += [f"a run has not ended, so what it may take over stays: {self.root}/{run.key}" for run in self.runs]
        return "\n".join([*lines, *self.tally.lines(self.rules.delete)])

    def choose(self) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
        """(snapshots that are kept, snapshots that go), each by name and number. Raises UserError without MLflow."""
        every: dict[str, list[tuple[int, float]]] = {}
        for name, number, found in list_snapshots(self.root):
            every.setdefault(name, []).append((number, found.modified_s))
        pinned = self.pinned() if self.rules.keep is not None else {}
        kept: list[tuple[str, int]] = []
        gone: list[tuple[str, int]] = []
        for name, numbers in every.items():
            newest = sorted(number for number, _ in numbers)[-(self.rules.keep or len(numbers)) :]
            for number, modified_s in sorted(numbers):
                stays = number in newest or self.is_young(modified_s)
                if not stays and (why := pinned.get(read_link(self.root, name, number)[0])):
                    stays = True
                    self.notes.append(f"{name}@{number} stays, as it has trained {why}")
                (kept if stays else gone).append((name, number))
        return kept, gone

    def pinned(self) -> dict[str, str]:
        """Id of a snapshot -> what was trained on it."""
        if not tracking.is_configured():
            raise UserError(
                "MLFLOW_TRACKING_URI is not set, so it can't be seen which snapshots models were trained on",
                "set it, or leave --keep out: then all snapshots stay",
            )
        return {one.snapshot.rpartition("#")[2]: one.said for one in tracking.trained_on_snapshots()}

    def drop_snapshot(self, name: str, number: int) -> None:
        """Remove a manifest, leaving its place in the chain; from then on nothing it stood on is needed for it."""
        if self.rules.delete:
            self.refuse_company()
            link = dict(zip(("id", "parent"), read_link(self.root, name, number), strict=True))
            storage.create_once(removed_uri(self.root, name, number), json.dumps(link, sort_keys=True).encode())
            storage.delete(manifest_uri(self.root, name, number))
        self.tally.objects[SNAPSHOTS] += 1

    def sweep(self, page: list[storage.ObjectInfo]) -> None:
        """Remove those of some objects that nothing reaches."""
        by_key = {found.uri.removeprefix(f"{self.root}/"): found for found in page}
        # Whatever else lies under the root is none of ours, or a snapshot.
        strays = {key: found for key, found in by_key.items() if key.startswith(("parts/", f"{RUNS}/")) or parse(key)}
        reached = self.reach.has(list(strays))
        unreached = {key: found for (key, found), has in zip(strays.items(), reached, strict=True) if not has}
        old = {}
        for key, found in unreached.items():
            if self.is_young(found.modified_s):
                self.tally.stays["younger than --older-than"] += 1
            elif self.is_taken_over(key):
                self.tally.stays["of a run that has not ended"] += 1
            else:
                old[key] = found
        useful = self.without_clips(old)
        goes = {key: found for key, found in old.items() if key not in useful}
        if goes and self.rules.delete:
            self.refuse_company()
            storage.delete_keys(page[0].bucket, [found.key for found in goes.values()])
        self.tally.objects.update(key.partition("/")[0] for key in goes)
        for key, found in goes.items():
            self.tally.size[key.partition("/")[0]] += found.size

    def without_clips(self, keys: Iterable[str]) -> set[str]:
        """Those of the keys whose object is the index of a source that gives no clip, made as the snapshots' were."""

        def looked_at(key: str) -> bool:
            address = parse(key)
            if address is None or not self.reach.knows_index(address):
                return False
            data = read_if_there(f"{self.root}/{key}")
            return data is not None and self.reach.has_no_clips(address, data)

        with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
            return {key for key, useful in pool.map(lambda key: (key, looked_at(key)), keys) if useful}

    def is_young(self, modified_s: float) -> bool:
        return self.now_s - modified_s < self.rules.older_than_s

    def is_taken_over(self, key: str) -> bool:
        """Whether a run that has not ended may build on an object."""
        address = parse(key)
        if key.startswith(f"{RUNS}/"):
            return any(run.key == key for run in self.runs)
        if address is None:
            return bool(self.runs)  # a part, named by its digest: the run may find that it needs the same
        stage = "index" if address.stage in BY_SOURCE else address.stage
        return any(run.fingerprints.get(stage) == address.fingerprint for run in self.runs)

    def refuse_company(self) -> None:
        """Before anything is removed: no run has begun and none has committed since this collection began.

        A run announces itself before it looks at what is stored, and takes its record away after its commit.
        """
        if self._look() - self._known:
            raise UserError(
                f"a run began or a snapshot was committed under {self.root} while this looked; what was removed so far "
                "was needed by none",
                "run `reelworks dataset gc` again",
            )

    def _look(self) -> set[str]:
        # Runs first: between the two listings a run that ends shows in the second.
        found = {one.uri for one in storage.list_objects(f"{self.root}/{RUNS}/")}
        return found | {one.uri for _, _, one in list_snapshots(self.root)}
