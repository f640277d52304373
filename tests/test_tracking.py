import json

import pytest

from infra.local.process import free_ports
from reelworks import tracking
from reelworks.errors import UserError


def test_a_run_holds_params_metrics_and_artifacts_through_the_server(mlflow_server: str) -> None:
    from mlflow import MlflowClient
    from mlflow.artifacts import load_text

    params = {"model": {"width": 192}, "sources": ["s3://raw/x"], **{f"p{i}": i for i in range(120)}}
    with tracking.start_run("tests", "one", params, {"verb": "test"}) as run:
        run.metrics({"loss": 2.0, "psnr": 25.5}, step=1)
        tracking.attach(run.id).metrics({"loss": 1.0}, step=2)
        run.json({"a": 1}, "figures/a.json")
    stored = MlflowClient().get_run(run.id)
    assert stored.info.status == "FINISHED"
    assert stored.data.params["model.width"] == "192" and len(stored.data.params) == 122
    assert [(point.step, point.value) for point in MlflowClient().get_metric_history(run.id, "loss")] == [
        (1, 2),
        (2, 1),
    ]
    assert json.loads(load_text(f"{stored.info.artifact_uri}/figures/a.json")) == {"a": 1}


@pytest.mark.parametrize(("raised", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_run_never_stays_open(mlflow_server: str, raised: type[BaseException], status: str) -> None:
    from mlflow import MlflowClient

    with pytest.raises(raised), tracking.start_run("tests", "bad", {}, {}) as run:
        raise raised
    assert MlflowClient().get_run(run.id).info.status == status


def test_a_second_attempt_with_the_same_key_continues_the_run(mlflow_server: str) -> None:
    with pytest.raises(ValueError), tracking.start_run("tests", "x", {"a": 1}, {}, key="k1") as first:
        raise ValueError
    with tracking.start_run("tests", "x", {"a": 1}, {}, key="k1") as second:
        pass
    with tracking.start_run("tests", "x", {"a": 1}, {}, key="k2") as other:
        pass
    assert (second.id, first.resumed, second.resumed) == (first.id, False, True)
    assert other.id != first.id


def test_an_alias_names_the_newest_registered_version(mlflow_server: str) -> None:
    with tracking.start_run("tests", "x", {}, {}) as run:
        first = tracking.register("tests-model", "s3://reelworks/checkpoints/a", run.id)
        second = tracking.register("tests-model", "s3://reelworks/checkpoints/b", run.id, tags={"psnr": "25"})
    expected = tracking.Registered("tests-model", second, "s3://reelworks/checkpoints/b")
    assert tracking.resolve_alias("tests-model", "champion") == expected
    assert tracking.resolve_alias("tests-model", first).uri == "s3://reelworks/checkpoints/a"


@pytest.mark.parametrize(
    ("name", "alias"), [("nobody", "champion"), ("tests-alias", "challenger"), ("tests-alias", "9")]
)
def test_a_model_that_is_not_registered_is_named(mlflow_server: str, name: str, alias: str) -> None:
    with tracking.start_run("tests", "x", {}, {}) as run:
        tracking.register("tests-alias", "s3://reelworks/checkpoints/a", run.id)
    with pytest.raises(UserError, match=f"no model '{name}' with version or alias '{alias}'"):
        tracking.resolve_alias(name, alias)


def test_runs_and_models_tell_which_snapshot_they_were_trained_on(mlflow_server: str) -> None:
    snapshot = f"world@3#{'a' * 64}"
    with tracking.start_run("tests-other", "trained", {}, {}) as run:
        run.trains_on(snapshot)
        assert f"run {run.id} (trained, RUNNING)" in {one.said for one in tracking.trained_on_snapshots()}
        tracking.register("tests-trained", "s3://reelworks/checkpoints/c", run.id, tags={"snapshot": snapshot})
    found = {one.said for one in tracking.trained_on_snapshots() if one.snapshot == snapshot}
    assert found == {
        f"run {run.id} (trained, FINISHED)",
        "model tests-trained version 1 at s3://reelworks/checkpoints/c",
    }


def test_an_unreachable_server_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = f"http://127.0.0.1:{free_ports(1)[0]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", nobody)
    with pytest.raises(UserError, match=f"Can't reach MLflow at {nobody}"):
        tracking.check_server()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(UserError, match="MLFLOW_TRACKING_URI is not set"):
        tracking.check_server()


def test_a_reachable_server_passes(mlflow_server: str) -> None:
    tracking.check_server()
