"""The real thing: Ray Train, two workers, DeepSpeed ZeRO-2, a bucket, MLflow."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from infra.local.operators import FOLDER
from reelworks import storage, tracking
from reelworks.generate.pipeline import VideoPipeline
from reelworks.models.checkpoint import read_config
from reelworks.train import dit_loop, state
from reelworks.train.dit_recipe import TrainDiTRecipe
from tests.own_ray import own_ray
from tests.train.snapshots import write_snapshot, write_text_encoder, write_vae


@pytest.fixture(scope="module")
def ray_cluster(mlflow_server: str) -> Iterator[None]:
    """A Ray of our own, with the operators that set-up built."""
    os.environ.update(TORCH_EXTENSIONS_DIR=str(FOLDER), RAY_TRAIN_HEALTH_CHECK_INTERVAL_S="0.2")
    with own_ray(4):
        yield


def recipe(prefix: str, models: Path) -> TrainDiTRecipe:
    return TrainDiTRecipe.model_validate(
        {
            "name": "test",
            "dataset": prefix,
            "snapshot": "world@latest",
            "vae": str(models / "vae"),
            "checkpoints": f"{prefix}/checkpoints",
            "register_as": "test-dit",
            "architecture": {"width": 16, "layers": 1, "heads": 2},
            "text": {"encoder": str(models / "text"), "max_tokens": 8},
            "objective": {"reference_tokens": 8},
            "packing": {"pack_tokens": 40, "packs_per_step": 2},
            "optimizer": {"learning_rate": 0.01, "warmup_steps": 2},
            "budget": {"steps": 6, "checkpoint_steps": 2, "keep_states": 1},
            "workers": {"num_workers": 2, "max_failures": 1},
            "defaults": {"width": 16, "height": 16, "seconds": 1, "fps": 8, "steps": 2, "guidance": 2},
            "previews": ["a red circle moves left"],
            "log_steps": 2,
        }
    )


def dies_once(config: dict[str, Any]) -> dict[str, Any]:
    """The loop, with one rank killed in the middle of its first life."""
    step = dit_loop.DiTTraining.step

    def fatal_step(training: dit_loop.DiTTraining, *arguments: Any) -> None:
        at_step_3 = training.rank == 1 and training.ledger.step == 3
        if at_step_3 and storage.create_once(f"{training.setup.run_uri}/died", b"once").created:
            os._exit(1)
        step(training, *arguments)

    dit_loop.DiTTraining.step = fatal_step  # type: ignore[method-assign]
    return dit_loop.train_worker(config)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_vae(folder / "vae")
    write_text_encoder(folder / "text")
    return folder


def train(recipe: TrainDiTRecipe, loop: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[str, dict[str, Any]]:
    monkeypatch.setattr(dit_loop, "train_worker", loop)
    with tracking.start_run("test", "train_dit", {}, {}) as run:
        return run.id, dit_loop.train_dit(recipe, run)


@pytest.mark.timeout(400)
def test_a_killed_worker_heals_and_the_run_ends_as_if_nothing_had_happened(
    ray_cluster: None, prefix: str, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_snapshot(prefix, 24)
    asked = recipe(prefix, models)
    run_id, whole = train(asked, dit_loop.train_worker, monkeypatch)
    killed_id, killed = train(asked, dies_once, monkeypatch)
    assert whole["steps"] == killed["steps"] == 6 and killed["version"] == whole["version"] + 1
    folders = [
        storage.download_folder(result["checkpoint"], tmp_path / str(i)) for i, result in enumerate((whole, killed))
    ]
    assert {path.name for path in folders[0].iterdir()} == {
        "COMMITTED", "config.json", "ema.safetensors", "model.safetensors",
    }  # fmt: skip
    for name in ("model.safetensors", "ema.safetensors"):
        expected, found = (load_file(folder / name) for folder in folders)
        assert all(torch.equal(expected[key], found[key]) for key in expected)
    weights, average = (load_file(folders[0] / name) for name in ("model.safetensors", "ema.safetensors"))
    assert any(not torch.equal(weights[key], average[key]) for key in weights)
    assert state.committed_steps(f"{prefix}/checkpoints/{run_id}") == [2, 4, 6]
    assert not storage.is_committed(f"{state.step_uri(f'{prefix}/checkpoints/{run_id}', 4)}/state")
    config = read_config(folders[0], "dit")
    assert config["snapshot"].startswith("world@1#") and config["limits"]["max_tokens"] == 18
    trained = {one.said for one in tracking.trained_on_snapshots() if one.snapshot == config["snapshot"]}
    assert {f"run {one} (train_dit, FINISHED)" for one in (run_id, killed_id)} <= trained and len(trained) == 4
    pipeline = VideoPipeline.open(folders[0])
    assert pipeline.generate([pipeline.request("a red circle")])[0].shape == (8, 16, 16, 3)
    artifacts = tracking._client().list_artifacts(run_id, "previews/step-00000006")
    assert sorted(Path(one.path).name for one in artifacts) == ["0.mp4", "contact_sheet.png", "prompts.txt"]
    history = tracking._client().get_metric_history(killed_id, "loss")
    assert {metric.step for metric in history} == {2, 4, 6}
