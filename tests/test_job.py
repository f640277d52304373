import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from infra.local.process import free_ports
from reelworks import job
from reelworks.config import Recipe
from reelworks.errors import UserError
from reelworks.tracking import Run


class Probe(Recipe):
    output: str = "s3://reelworks/probe"
    """Where the results go."""

    def writes(self) -> Sequence[str]:
        return [self.output]


def _never(recipe: Probe, run: Run) -> Mapping[str, Any]:
    raise AssertionError("work started")


def _exit_code(monkeypatch: pytest.MonkeyPatch, *arguments: str, **checks: Any) -> object:
    monkeypatch.setattr(sys, "argv", ["probe.py", *arguments])
    with pytest.raises(SystemExit) as caught:
        job.run_job(Probe, _never, **checks)
    return caught.value.code


@pytest.fixture(autouse=True)
def recipe(recipe_file: Path) -> str:
    recipe_file.write_text("name: probe\n")
    return str(recipe_file)


def test_a_dry_run_prints_the_resolved_recipe_and_needs_no_network(
    recipe: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("AWS_ENDPOINT_URL", "MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    assert _exit_code(monkeypatch, "--recipe", recipe, "--set", "output=s3://b/c", "--dry-run") == 0
    assert "output: s3://b/c" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("override", "variables", "named"),
    [
        ("outptu=1", {}, "nearest is 'output'"),
        ("output=s3://nowhere/x", {}, "no bucket 'nowhere'"),
        ("strict=true", {"AWS_ACCESS_KEY_ID": "other"}, "refuses these credentials"),
        ("strict=true", {"MLFLOW_TRACKING_URI": "http://127.0.0.1:NOBODY"}, "Can't reach MLflow"),
    ],
)
def test_bad_input_ends_the_job_before_work_starts(
    recipe: str,
    mlflow_server: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    override: str,
    variables: dict[str, str],
    named: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value.replace("NOBODY", str(free_ports(1)[0])))
    assert _exit_code(monkeypatch, "--recipe", recipe, "--set", override) == job.USER_ERROR
    assert named in capsys.readouterr().err


def test_too_little_disk_ends_the_job_before_work_starts(
    recipe: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(job, "FREE_BYTES_NEEDED", 2**60)
    assert _exit_code(monkeypatch, "--recipe", recipe) == job.USER_ERROR
    assert "GiB free" in capsys.readouterr().err


def test_check_tests_everything_and_starts_nothing(
    recipe: str, mlflow_server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _exit_code(monkeypatch, "--recipe", recipe, "--check") == 0

    def refuse(recipe: Probe) -> None:
        raise UserError("no captioner")

    assert _exit_code(monkeypatch, "--recipe", recipe, "--check", checks=refuse) == job.USER_ERROR
    assert "no captioner" in capsys.readouterr().err


def test_the_end_table_shows_every_result_under_its_path() -> None:
    table = job.end_table("prepare", {"clips": 12, "dropped": {"short": 3}, "psnr": 25.123456})
    assert table.splitlines() == [
        "-- prepare: what came out --",
        "clips          12",
        "dropped.short  3",
        "psnr           25.12",
    ]


def test_results_that_are_too_low_or_absent_miss_their_expectation() -> None:
    missed = list(job.missed_expectations({"psnr": 25, "acc.macro": 0.9, "clips": 1}, {"psnr": 24.0, "clips": 1.0}))
    assert missed == ["psnr is 24, at least 25 expected", "acc.macro was not measured, at least 0.9 expected"]
