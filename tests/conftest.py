"""Real servers for the tests, each started at most once a session and stopped by its pid."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.stack import Stack
from tests.storage.tap import Tap, tapped


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A local stack of the tests' own; the fixtures below start its parts when they are asked for."""
    own = Stack(tmp_path_factory.mktemp("stack"))
    os.environ["REELWORKS_CACHE"] = str(own.folder / "cache")
    yield own
    own.down(say=_silent)


@pytest.fixture(scope="session", autouse=True)
def no_stack_of_a_person() -> Iterator[None]:
    """Commands in tests never take the addresses of the stack that somebody left in the checkout."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reelworks.cli.LOCAL_STACK", Path("no stack"))
        yield


@pytest.fixture(scope="session")
def s3_server(stack: Stack) -> str:
    """A SeaweedFS with the buckets raw and reelworks, its address and credentials in the environment."""
    return _start(stack, "s3", ("AWS_",))["AWS_ENDPOINT_URL"]


@pytest.fixture(scope="session")
def mlflow_server(stack: Stack, s3_server: str) -> str:
    """An MLflow server whose artifacts lie in the bucket, its address in the environment."""
    return _start(stack, "mlflow", ("MLFLOW_", "DO_NOT_TRACK"))["MLFLOW_TRACKING_URI"]


@pytest.fixture
def prefix(s3_server: str) -> str:
    """An address in the bucket reelworks that no other test uses."""
    return f"s3://reelworks/test/{uuid.uuid4().hex}"


@pytest.fixture
def tap(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tap]:
    """What this process asks the S3 server for during one test, counted on the wire."""
    with tapped(s3_server) as tap:
        monkeypatch.setenv("AWS_ENDPOINT_URL", tap.endpoint)
        yield tap


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    """Where a test writes its recipe."""
    return tmp_path / "recipe.yaml"


def _start(stack: Stack, name: str, exported: tuple[str, ...]) -> dict[str, str]:
    environment = stack.up((name,), say=_silent)
    os.environ.update({key: value for key, value in environment.items() if key.startswith(exported)})
    return environment


def _silent(line: str) -> None:
    pass
