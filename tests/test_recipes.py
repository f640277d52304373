"""Every shipped recipe parses, dry-runs and says how it is run; every job has one for laptop and cluster."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
import yaml

JOBS = Path(__file__).resolve().parents[1] / "jobs"
VERBS = sorted(path.stem for path in JOBS.glob("*.py"))
RECIPES = sorted(JOBS.glob("recipes/*/*.yaml"))


def _verb(recipe: Path) -> str:
    """`prepare.yaml` and `prepare_footage.yaml` are recipes of `prepare`."""
    return max((verb for verb in VERBS if recipe.stem == verb or recipe.stem.startswith(f"{verb}_")), key=len)


@pytest.mark.parametrize("verb", VERBS)
def test_every_job_has_a_recipe_for_the_laptop_and_one_for_a_cluster(verb: str) -> None:
    assert [place for place in ("laptop", "cluster") if not (JOBS / "recipes" / place / f"{verb}.yaml").is_file()] == []


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_recipe_dry_runs_offline_to_a_recipe_equal_to_itself(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("AWS_ENDPOINT_URL", "MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    resolved = tmp_path / "resolved.yaml"
    printed = []
    for source in (recipe, resolved):
        monkeypatch.setattr(sys, "argv", [f"{_verb(recipe)}.py", "--recipe", str(source), "--dry-run"])
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(str(JOBS / f"{_verb(recipe)}.py"), run_name="__main__")
        streams = capsys.readouterr()
        assert caught.value.code == 0, streams.err
        resolved.write_text(streams.out)
        printed.append(yaml.safe_load(streams.out))
    assert printed[0] == printed[1]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_recipe_opens_with_the_exact_command_that_runs_it(recipe: Path) -> None:
    header = [line for line in recipe.read_text().splitlines() if line.startswith("#")]
    command = f"reelworks run {_verb(recipe)} --recipe jobs/recipes/{recipe.parent.name}/{recipe.name}"
    assert any(command in line for line in header), f"its header lacks: {command}"
