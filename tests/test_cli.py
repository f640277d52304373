from pathlib import Path

import pytest

from infra.local.process import free_ports
from reelworks import cli
from reelworks.config import Recipe, load_recipe


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of jobs, in a working directory without a local stack."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jobs" / "recipes").mkdir(parents=True)
    (tmp_path / "jobs" / "prepare.py").touch()
    (tmp_path / "jobs" / "recipes" / "small.yaml").write_text("name: small\n")
    return tmp_path / "jobs"


def _run(*arguments: str) -> int:
    return cli.main(["run", *arguments, "--recipe", "jobs/recipes/small.yaml"])


def test_an_unknown_verb_names_those_there_are(jobs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("prepair") == 2
    assert "no job 'prepair' in jobs/. The jobs are: prepare" in capsys.readouterr().err


@pytest.mark.parametrize("address", [None, "http://127.0.0.1:NOBODY"])
def test_a_missing_cluster_is_named(
    jobs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], address: str | None
) -> None:
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    if address:
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", address.replace("NOBODY", str(free_ports(1)[0])))
    assert _run("prepare") == 2
    assert ("No Ray cluster answers" if address else "RAY_API_SERVER_ADDRESS is not set") in capsys.readouterr().err


def test_a_recipe_travels_by_its_path_in_the_jobs_folder_or_whole(jobs: Path, tmp_path: Path) -> None:
    assert cli._travelling(jobs / "recipes" / "small.yaml", jobs) == "recipes/small.yaml"
    (tmp_path / "mine.yaml").write_text("name: mine\n")
    assert load_recipe(Recipe, cli._travelling(tmp_path / "mine.yaml", jobs)) == Recipe(name="mine")


def test_the_local_stack_is_used_unless_a_cluster_is_named(jobs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "LOCAL_STACK", Path(".stack/env"))
    (jobs.parent / ".stack").mkdir()
    (jobs.parent / ".stack" / "env").write_text("RAY_API_SERVER_ADDRESS=http://here:1\nEXTRA=a=b\n")
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://there:2")
    monkeypatch.setenv("EXTRA", "kept")
    cli._use_local_stack()
    assert cli.os.environ["EXTRA"] == "kept"
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS")
    cli._use_local_stack()
    assert (cli.os.environ["RAY_API_SERVER_ADDRESS"], cli.os.environ["EXTRA"]) == ("http://here:1", "a=b")
