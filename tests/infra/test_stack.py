"""The whole local stack, once: what `make up` promises, a job through `reelworks run`, and that nothing is left."""

import os
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from infra.local import process
from infra.local.stack import MARKER, NAMES, Stack

PROBE = """
import ray
from reelworks import storage
from reelworks.config import Recipe
from reelworks.errors import UserError
from reelworks.job import run_job


class Probe(Recipe):
    mode: str = "good"


@ray.remote(num_cpus=1)
def double(x):
    return 2 * x


def work(recipe, run):
    if recipe.mode == "user_error":
        raise UserError("no such snapshot", "run prepare")
    if recipe.mode == "dies_once" and storage.create_once("s3://reelworks/probe/died", b"").created:
        raise RuntimeError("a worker was lost")
    return {"doubled": ray.get(double.remote(21)), "resumed": run.resumed}


if __name__ == "__main__":
    run_job(Probe, work)
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, dict[str, str]]]:
    """A stack of this module's own, and an environment in which only it exists."""
    kept = dict(os.environ)
    stack = Stack(tmp_path_factory.mktemp("whole"))
    environment = stack.up()
    yield stack, {**kept, **environment}
    stack.down()
    os.environ.clear()
    os.environ.update(kept)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("probe") / "jobs"
    folder.mkdir()
    (folder / "probe.py").write_text(PROBE)
    (folder / "recipe.yaml").write_text("name: probe\n")
    return folder


def _reelworks(environment: dict[str, str], jobs: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "reelworks.cli", "run", "probe", "--jobs", str(jobs)]
    command += ["--recipe", str(jobs / "recipe.yaml"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_everything_runs_on_loopback_only(up: tuple[Stack, dict[str, str]]) -> None:
    ours = set(process.carriers(f"{MARKER}={up[0].folder}"))
    listening = [item for item in psutil.net_connections("inet") if item.status == "LISTEN" and item.pid in ours]
    assert len(listening) >= 12
    assert {item.laddr.ip for item in listening} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def test_up_twice_is_harmless(up: tuple[Stack, dict[str, str]]) -> None:
    before, said = up[0].running(), []
    environment = up[0].up(say=said.append)
    assert up[0].running() == before and set(before) == set(NAMES)
    assert "up already" in said[0]
    assert environment.items() <= up[1].items()


def test_a_part_that_died_comes_back_beside_the_others(up: tuple[Stack, dict[str, str]]) -> None:
    before = up[0].running()
    sessions = sorted((up[0].folder / "ray").glob("session_*"))
    process.stop(before["mlflow"], seconds=2)
    assert up[0].up().items() <= up[1].items()
    after = up[0].running()
    assert (after["s3"], after["ray"]) == (before["s3"], before["ray"]) and after["mlflow"] != before["mlflow"]
    assert sorted((up[0].folder / "ray").glob("session_*")) == sessions, "the running head's sockets are gone"


def test_status_tells_what_runs_where_and_its_log(up: tuple[Stack, dict[str, str]]) -> None:
    lines = up[0].status()
    assert [line.split()[:2] for line in lines] == [[name, "up"] for name in NAMES]
    assert all(address in line for address, line in zip(_addresses(up[1]), lines, strict=True))
    assert all(Path(line.split()[-1]).is_file() for line in lines)


def _addresses(environment: dict[str, str]) -> list[str]:
    return [environment[name] for name in ("AWS_ENDPOINT_URL", "MLFLOW_TRACKING_URI", "RAY_DASHBOARD")]


def test_secrets_are_their_owners_alone(up: tuple[Stack, dict[str, str]]) -> None:
    for path in (up[0].env_file, Path(up[1]["RAY_AUTH_TOKEN_PATH"]), up[0].folder / "s3" / "s3.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_ray_refuses_jobs_without_the_token(up: tuple[Stack, dict[str, str]]) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{up[1]['RAY_DASHBOARD']}/api/jobs/")
    assert caught.value.code in (401, 403)


def test_a_job_that_dies_is_submitted_again_and_continues_its_run(up: tuple[Stack, dict[str, str]], jobs: Path) -> None:
    done = _reelworks(up[1], jobs, "--set", "mode=dies_once", "--retries", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a worker was lost" in done.stdout and "attempt 2 of 3" in done.stdout and "attempt 3" not in done.stdout
    result = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    assert '"doubled": 42, "resumed": true' in result


def test_a_users_error_is_the_jobs_exit_code_and_never_retried(up: tuple[Stack, dict[str, str]], jobs: Path) -> None:
    done = _reelworks(up[1], jobs, "--set", "mode=user_error", "--retries", "2")
    assert done.returncode == 2
    assert "error: no such snapshot. run prepare" in done.stdout and "attempt" not in done.stdout


def test_down_leaves_no_process_and_keeps_the_data(up: tuple[Stack, dict[str, str]]) -> None:
    from reelworks import storage

    stack = up[0]
    storage.create_once("s3://raw/kept", b"data")
    stack.down()
    assert process.carriers(f"{MARKER}={stack.folder}") == []
    assert [line.split()[1] for line in stack.status()] == ["down"] * 3
    stack.up(("s3",))
    assert storage.get_bytes("s3://raw/kept") == b"data"
