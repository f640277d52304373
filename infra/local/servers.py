"""What the local stack runs: the command and the readiness of MLflow and of the Ray head."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from reelworks.errors import UserError

OBJECT_STORE_BYTES = 2**30
NUM_CPUS = 8  # logical: two would starve a pipeline of ten actors; every actor says what it takes
# Ray's sockets lie under its temp dir and a unix socket's path ends at 107 bytes; the rest of it takes 82.
LONGEST_RAY_FOLDER = 24

MLFLOW_PORTS = ("mlflow",)
RAY_PORTS = ("ray", "ray_dashboard", "ray_client", "ray_agent")


def _binary(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def mlflow_command(folder: Path, port: int) -> list[str]:
    """An MLflow server: SQLite, artifacts through it into the bucket, one worker."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _binary("mlflow"),
        "server",
        f"--backend-store-uri=sqlite:///{folder / 'mlflow.db'}",
        "--serve-artifacts",
        "--artifacts-destination=s3://reelworks/mlflow",
        "--host=127.0.0.1",
        f"--port={port}",
        "--workers=1",
    ]


def mlflow_is_ready(uri: str) -> bool:
    return _answers(f"{uri}/health", {})


def ray_folder(state: Path) -> Path:
    """A short folder of this stack's own for Ray, linked from the state folder. UserError if none is short enough."""
    name = "rw-" + hashlib.sha256(str(state).encode()).hexdigest()[:8]
    for parent in (Path(tempfile.gettempdir()), Path("/tmp")):
        if len(str(parent / name)) <= LONGEST_RAY_FOLDER:
            return parent / name
    raise UserError("No temporary folder has a path short enough for Ray's sockets", "Set TMPDIR=/tmp")


def ray_command(state: Path, ports: dict[str, int]) -> list[str]:
    """A Ray head on loopback in the foreground, so that one process of ours owns all of it."""
    folder = ray_folder(state)
    shutil.rmtree(folder, ignore_errors=True)  # sessions of earlier runs
    folder.mkdir(mode=0o700)
    link = state / "ray"
    link.unlink(missing_ok=True)
    link.symlink_to(folder)
    return [
        _binary("ray"),
        "start",
        "--head",
        "--block",
        "--disable-usage-stats",
        "--node-ip-address=127.0.0.1",
        f"--port={ports['ray']}",
        "--include-dashboard=true",
        "--dashboard-host=127.0.0.1",
        f"--dashboard-port={ports['ray_dashboard']}",
        f"--ray-client-server-port={ports['ray_client']}",
        f"--dashboard-agent-listen-port={ports['ray_agent']}",
        f"--num-cpus={NUM_CPUS}",
        f"--object-store-memory={OBJECT_STORE_BYTES}",
        f"--temp-dir={folder}",
    ]


def new_token(path: Path) -> None:
    """A token for this cluster, readable by its owner alone; an existing one stays."""
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))


def ray_is_ready(dashboard: str, token_path: Path) -> bool:
    """Whether the head takes jobs: its job API answers and its own node is alive."""
    headers = {"Authorization": f"Bearer {token_path.read_text()}"}
    if not _answers(f"{dashboard}/api/jobs/", headers):
        return False
    request = urllib.request.Request(f"{dashboard}/nodes?view=summary", headers=headers)
    with urllib.request.urlopen(request, timeout=5) as answer:
        nodes = json.load(answer)["data"]["summary"]
    return any(node.get("raylet", {}).get("state") == "ALIVE" for node in nodes)


def _answers(url: str, headers: dict[str, str]) -> bool:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
