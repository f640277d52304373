"""`make chaos-data`: `prepare` under kills and a failing bucket ends with the same bytes as without.

Rounds of one small corpus, each from an empty data set, on one cluster of three nodes. In every round some fail points
are armed (failpoints.py); a driver that dies is started again, a node that dies is replaced. Afterwards the data set
must hold, byte for byte, what an undisturbed run in one process stores, and the snapshot must have the same id. The
full form runs tiny models of production classes; the CI form lets stand-ins caption and embed (standins.py).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reelworks import storage
from reelworks.curate.recipe import PrepareRecipe
from reelworks.curate.snapshot import resolve_snapshot
from tests.chaos import failpoints, standins
from tests.chaos.rounds import Round, rounds
from tests.curate.conftest import commit_inline, recipe_for, tiny_models, upload_world
from tests.own_s3 import own_s3

ROOT = Path(__file__).parents[2]
TRIES = 8
"""Drivers of one round before it counts as lost: each armed driver point costs one."""
DRIVER_LIMIT_S = 180
NODES, NODE_CPUS = 2, 4
"""Nodes beside the head, and their logical CPUs: one driver's actors and tasks need both, two drivers' just fit."""
VIDEOS = {"ci": 5, "full": 12}
"""Size of the corpus: enough for the most frequent point to be reached."""
LEAST = {"ci": 50, "full": 200}
"""Kills below which a run proves too little."""
CLUSTER = {
    # Workers that are started ahead lack the fail points, so they are of no use here.
    "RAY_prestart_worker_first_driver": "0",
    "RAY_enable_worker_prestart": "0",
    # A lost node is noticed after 5 refused checks: 3 s apart by default, of which every round would wait for 15.
    "RAY_health_check_period_ms": "500",
}


@dataclass
class Outcome:
    """What came of one round."""

    reached: set[str]
    drivers: int
    problems: list[str]


class Chaos:
    """One cluster, one bucket, one corpus, and what an undisturbed run makes of it."""

    def __init__(self, folder: Path, size: str) -> None:
        from ray.cluster_utils import Cluster

        self.folder = folder
        self.armed = folder / "armed"
        self.armed.mkdir()
        os.environ[failpoints.ARMED] = str(self.armed)
        os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "platform"), str(ROOT)])
        if size == "ci":
            os.environ[standins.STANDINS] = "1"
            standins.install()
        (folder / "ray").mkdir()
        os.environ["RAY_TMPDIR"] = str(folder)  # never the folder of a Ray that runs already
        os.environ |= CLUSTER
        # All work on nodes that can be lost: with the head goes the cluster.
        self.cluster = Cluster(True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        try:
            self.nodes = [self.cluster.add_node(wait=False, num_cpus=NODE_CPUS) for _ in range(NODES)]
            self.models = tiny_models(folder / "models")
            self.base = f"s3://reelworks/chaos-{uuid.uuid4().hex}"
            upload_world(f"{self.base}/raw", num_videos=VIDEOS[size])
            self.wanted = self.reference()
            self.cluster.wait_for_nodes()
        except BaseException:
            self.close()
            raise

    @property
    def root(self) -> str:
        """The same in every round: rows name their tensors by address."""
        return f"{self.base}/data"

    def recipe(self) -> PrepareRecipe:
        """Every clip a chunk, and every chunk a call of its own, so that there is work left after each kill."""
        stages = {name: {"source": self.models[name], "chunks_per_call": 1} for name in ("text", "vae")}
        stages["vae"] |= {"std_range": (0.2, 5.0)}
        captioner = {"source": self.models["captioner"], "max_new_tokens": 6, "chunks_per_call": 1}
        # Each worker costs its start again in every driver, and cores are few.
        read = {"workers": 2, "sources_per_task": 2, "chunks_per_task": 1, "num_cpus": 0.5, "chunk_bytes": 1}
        return recipe_for(self.root, f"{self.base}/raw/train/", self.models, read=read, captioner=captioner, **stages)

    def reference(self) -> dict[str, str]:
        commit_inline(self.recipe(), self.folder / "spool")
        return contents(self.root)

    def run(self, number: int, planned: Round) -> Outcome:
        """One round: drivers until one ends well, then the comparison."""
        storage.delete_prefix(f"{self.root}/")
        file = self.folder / f"recipe-{number}.json"
        file.write_text(self.recipe().model_dump_json())
        failpoints.arm(self.armed, planned.points)
        codes, drivers = [1], 0
        while any(codes) and drivers < TRIES:
            codes = self.drive(file, planned.drivers_at_once)
            drivers += len(codes)
        reached = planned.points.keys() - failpoints.disarm(self.armed)
        if any(codes):
            log = file.with_suffix(".log").read_text(errors="replace").splitlines()
            return Outcome(reached, drivers, [f"no driver finished in {drivers} tries", *log[-15:]])
        return Outcome(reached, drivers, list(differences(self.wanted, contents(self.root))))

    def drive(self, recipe: Path, how_many: int) -> list[int]:
        """Exit codes of drivers that run the recipe at the same time; a node that dies meanwhile is replaced."""
        command = [sys.executable, "-m", "tests.chaos.driver", self.cluster.address, str(recipe)]
        environment = {**os.environ, failpoints.ROLE: "driver"}
        with recipe.with_suffix(".log").open("ab") as log:
            started = [
                subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log) for _ in range(how_many)
            ]
            ends = time.monotonic() + DRIVER_LIMIT_S
            while any(driver.poll() is None for driver in started) and time.monotonic() < ends:
                time.sleep(0.1)
                self.replace_dead_nodes()
            for driver in started:
                driver.kill()
            codes = [driver.wait() for driver in started]
        self.replace_dead_nodes()
        return codes

    def replace_dead_nodes(self) -> None:
        for number, node in enumerate(self.nodes):
            if "raylet" not in [name for name, _ in node.live_processes()]:
                self.cluster.remove_node(node, allow_graceful=False)
                self.nodes[number] = self.cluster.add_node(num_cpus=NODE_CPUS)

    def close(self) -> None:
        self.cluster.shutdown()


def contents(root: str) -> dict[str, str]:
    """Key -> ETag of all that a root holds, and the snapshot.

    Records of quarantine count by name, for they hold times; those of runs not at all: a killed driver's stays a day.
    """
    found = {item.uri.removeprefix(f"{root}/"): item.etag for item in storage.list_objects(f"{root}/")}
    found = {key: etag for key, etag in found.items() if not key.startswith("runs/")}
    found |= {key: "a record" for key in found if key.startswith("quarantine/")}
    return found | {"snapshot": str(resolve_snapshot(root, "world@latest"))}


def differences(wanted: dict[str, str], found: dict[str, str]) -> Iterator[str]:
    for key in sorted(wanted.keys() | found.keys()):
        if wanted.get(key) != found.get(key):
            what = "is missing" if key not in found else "should not exist" if key not in wanted else "has other bytes"
            yield f"{key} {what}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=list(LEAST), default="full")
    size = parser.parse_args().size
    began = time.monotonic()
    planned = rounds(size)
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="rw") as name, own_s3(Path(name)):
        chaos = Chaos(Path(name), size)
        try:
            for number, one in enumerate(planned):
                outcomes.append(chaos.run(number, one))
                last = outcomes[-1]
                verdict = "same bytes" if not last.problems else "\n  ".join(["WRONG", *last.problems[:20]])
                print(
                    f"round {number + 1} of {len(planned)}: {len(last.reached)} of {len(one.points)} points reached, "
                    f"{last.drivers} drivers, {time.monotonic() - began:.0f} s, {verdict}",
                    flush=True,
                )
        finally:
            chaos.close()
    return summary(planned, outcomes, LEAST[size])


def summary(planned: list[Round], outcomes: list[Outcome], least: int) -> int:
    """Print the end table; 1 where bytes differ or too few processes died for the run to mean anything."""
    fired = []
    for one, outcome in zip(planned, outcomes, strict=True):
        for name, action in one.points.items():
            print(f"{'reached    ' if name in outcome.reached else 'not reached'} {action:7} {name}")
        fired += [(name, one.points[name]) for name in sorted(outcome.reached)]
    killed = [name for name, action in fired if action in failpoints.KILLS]
    drivers = [name for name in killed if name.startswith("driver-")]
    nodes = [name for name, action in fired if action == "raylet"]
    wrong = sum(bool(outcome.problems) for outcome in outcomes)
    print(
        f"{len(killed)} kills ({len(drivers)} of drivers, {len(nodes)} of a node), {len(fired) - len(killed)} faults "
        f"of the bucket, {len(outcomes)} rounds, {wrong} with other bytes than undisturbed"
    )
    if few := len(set(killed)) < least or len(drivers) < 3 or not nodes:
        print(f"too few points were reached: {least} kills, 3 of drivers and 1 of a node are needed")
    return int(bool(wrong or few))


if __name__ == "__main__":
    sys.exit(main())
