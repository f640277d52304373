"""Real servers for the tests, each started at most once a session and stopped by its pid."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local import process, seaweed

# Every process of ours that a test starts carries it, so that none is left behind.
MARKER = "REELWORKS_STACK"


@pytest.fixture(scope="session")
def stack_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stack")


@pytest.fixture(scope="session")
def s3_server(stack_folder: Path) -> Iterator[str]:
    """A SeaweedFS with the buckets raw and reelworks, its address and credentials in the environment."""
    ports = dict(zip(seaweed.PORT_NAMES, process.free_ports(len(seaweed.PORT_NAMES)), strict=True))
    server = seaweed.Seaweed(stack_folder / "s3", ports, *seaweed.new_credentials())
    environment = {
        "AWS_ENDPOINT_URL": server.endpoint,
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    os.environ.update(environment)
    command = seaweed.command(server)
    running = process.start(command, stack_folder / "s3.log", {**os.environ, MARKER: str(stack_folder)})
    process.wait_until(seaweed.is_ready, running, "SeaweedFS")
    seaweed.create_buckets(["raw", "reelworks"])
    yield server.endpoint
    process.stop(running, seconds=1)  # its own way takes 15 s; what is written is written


@pytest.fixture
def prefix(s3_server: str) -> str:
    """An address in the bucket reelworks that no other test uses."""
    return f"s3://reelworks/test/{uuid.uuid4().hex}"
