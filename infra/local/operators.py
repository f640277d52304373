"""DeepSpeed's compiled operators: built once in set-up, never inside a job, where two ranks would wait for g++."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / ".cache" / "torch_extensions"


def remove_stale_locks(folder: Path = FOLDER) -> list[Path]:
    """Removes the locks of builds that were killed: every later worker would wait for them for ever."""
    stale = list(folder.glob("**/lock"))
    for path in stale:
        path.unlink(missing_ok=True)
    return stale


def build() -> float:
    """Builds the shared-memory collectives (all that a CPU job with torch's own Adam needs); seconds it took."""
    begun = time.monotonic()
    os.environ.update(DS_ACCELERATOR="cpu", TORCH_EXTENSIONS_DIR=str(FOLDER))
    # Compiled for this machine's cores, with ninja of this environment.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    FOLDER.mkdir(parents=True, exist_ok=True)
    remove_stale_locks()
    from deepspeed.ops.op_builder.cpu.comm import ShareMemCommBuilder

    ShareMemCommBuilder().load(verbose=False)
    return time.monotonic() - begun


if __name__ == "__main__":
    print(f"DeepSpeed's operators are built ({build():.0f} s) in {FOLDER}")
