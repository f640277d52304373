"""Checkpoints of a run in the bucket: what is served, and beside it what resuming needs.

    <run>/step-00000750/            config.json model.safetensors ema.safetensors COMMITTED   ← serving reads these
    <run>/step-00000750/state/      ledger.json ema-<rank>.safetensors zero/…      COMMITTED

The outer marker is written last: a folder without it is never read. Serving's download takes what the outer marker
names, so it never sees `state/`.
"""

import json
import re
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch.distributed as dist
from safetensors.torch import load_file, save_file

from reelworks import storage
from reelworks.train.ema import PowerEMA
from reelworks.train.engine import ShardedEngine

STEP_FOLDER = re.compile(r"/step-(\d{8})/" + storage.MARKER + "$")


@dataclass
class Ledger:
    """Where a run stands, in the checkpoint with its weights."""

    step: int = 0
    """The cursor: global steps taken or skipped."""
    elapsed_s: float = 0.0
    """Seconds of training so far, over all its lives."""
    loss: float | None = None
    """Running mean of the loss, over about 20 steps."""
    skipped: list[int] = field(default_factory=list)
    """Global steps without an update because a loss wasn't finite."""
    ranks: int = 0
    """Ranks that saved this."""
    finished: bool = False
    """Whether the budget is spent."""


def step_uri(run_uri: str, step: int) -> str:
    """Folder of a step's checkpoint."""
    return f"{run_uri.rstrip('/')}/step-{step:08d}"


def committed_steps(run_uri: str) -> list[int]:
    """Steps with a whole checkpoint, ascending."""
    found = (STEP_FOLDER.search(info.uri) for info in storage.list_objects(run_uri.rstrip("/") + "/"))
    return sorted(int(match.group(1)) for match in found if match)


def save(engine: ShardedEngine, ema: PowerEMA, ledger: Ledger, run_uri: str, served: Path | None) -> None:
    """Collective: write and commit a checkpoint. `served` is rank 0's folder of files to serve, None elsewhere."""
    rank = dist.get_rank()
    uri = step_uri(run_uri, ledger.step)
    if rank == 0:
        # What an earlier life wrote here and didn't commit; its bytes may differ from ours in rounding.
        storage.delete_prefix(uri + "/")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        engine.save(folder)
        save_file(ema.state(), folder / f"ema-{rank}.safetensors")
        if rank == 0:
            (folder / "ledger.json").write_text(json.dumps(asdict(ledger), sort_keys=True))
        dist.barrier()
        digests = {}
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = str(path.relative_to(folder))
            digests[name] = storage.create_file_once(f"{uri}/state/{name}", path)
    shares: list[dict[str, str] | None] = [None] * dist.get_world_size()
    dist.all_gather_object(shares, digests)
    if rank == 0 and served is not None:
        marker = {name: digest for share in shares if share for name, digest in share.items()}
        storage.create_once(f"{uri}/state/{storage.MARKER}", json.dumps(marker, sort_keys=True).encode())
        storage.upload_folder(served, uri)
    dist.barrier()


def restore(engine: ShardedEngine, ema: PowerEMA, run_uri: str) -> Ledger:
    """Collective: load the newest checkpoint of the run; an empty ledger where there is none."""
    newest: list[int | None] = [None]
    if dist.get_rank() == 0:
        steps = committed_steps(run_uri)
        newest = [steps[-1] if steps else None]
    dist.broadcast_object_list(newest, src=0)
    if newest[0] is None:
        return Ledger(ranks=dist.get_world_size())
    with tempfile.TemporaryDirectory() as scratch:
        folder = storage.download_folder(f"{step_uri(run_uri, newest[0])}/state", Path(scratch) / "state")
        ledger = Ledger(**json.loads((folder / "ledger.json").read_text()))
        engine.load(folder, ledger.ranks)
        ema.load(load_file(folder / f"ema-{dist.get_rank()}.safetensors"))
    return ledger


def prune(run_uri: str, keep: int) -> None:
    """Remove what resuming needs from all but the newest `keep` checkpoints; what is served stays."""
    for step in committed_steps(run_uri)[:-keep]:
        storage.delete_prefix(f"{step_uri(run_uri, step)}/state/")
