"""Runs, metrics, artifacts and the registry of models: the only MLflow. Its server is MLFLOW_TRACKING_URI."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from reelworks.errors import UserError

RUN_KEY = "reelworks.run_key"
# Tag of a run, and of a version of a model: the snapshot, name@number#id, that it was trained on.
SNAPSHOT = "snapshot"
REACH_SECONDS = 5  # MLflow's own client would retry an unreachable server for minutes
# Limits of MLflow's log-batch endpoint.
PARAMS_A_BATCH = 100
METRICS_A_BATCH = 1000
LONGEST_PARAM = 6000


@dataclass(frozen=True)
class Registered:
    """A version of a registered model and the folder that holds it."""

    name: str
    version: int
    uri: str


@dataclass(frozen=True)
class Trained:
    """A run or a version of a model, and the snapshot that it was trained on."""

    snapshot: str
    said: str  # for a person


@dataclass(frozen=True)
class Run:
    """A run that is open in MLflow; `resumed` when an earlier attempt of the same job opened it."""

    id: str
    resumed: bool = False

    def trains_on(self, snapshot: str) -> None:
        """Says which snapshot the run reads, so that `dataset gc` keeps it."""
        _client().set_tag(self.id, SNAPSHOT, snapshot)

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Logs numbers under their names at a step."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        batch = [Metric(name, float(value), now, step or 0) for name, value in values.items()]
        for first in range(0, len(batch), METRICS_A_BATCH):
            _client().log_batch(self.id, metrics=batch[first : first + METRICS_A_BATCH])

    def file(self, path: str | Path, folder: str = "") -> None:
        """Stores a local file as an artifact."""
        _client().log_artifact(self.id, str(path), folder or None)

    def blob(self, data: bytes, name: str) -> None:
        """Stores bytes (an image, a figure, a video) as the artifact `folder/name`."""
        place = PurePosixPath(name)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / place.name
            path.write_bytes(data)
            self.file(path, "" if place.parent == PurePosixPath(".") else str(place.parent))

    def text(self, text: str, name: str) -> None:
        """Stores a text as an artifact."""
        self.blob(text.encode(), name)

    def json(self, value: Any, name: str) -> None:
        """Stores a value as JSON."""
        self.text(json.dumps(value, indent=1, sort_keys=True, default=str), name)


@contextmanager
def start_run(
    experiment: str, name: str, params: Mapping[str, Any], tags: Mapping[str, str], key: str | None = None
) -> Iterator[Run]:
    """A run that ends FINISHED, FAILED on an exception, KILLED on an interruption.

    `key`: a later attempt with the same key continues the run of the earlier one.
    """
    run = _open(experiment, name, tags, key)
    if not run.resumed:
        _log_params(run.id, params)
    try:
        yield run
    except (KeyboardInterrupt, SystemExit):
        _client().set_terminated(run.id, "KILLED")
        raise
    except BaseException:
        _client().set_terminated(run.id, "FAILED")
        raise
    _client().set_terminated(run.id, "FINISHED")


def attach(run_id: str) -> Run:
    """An open run in another process (a Ray worker)."""
    return Run(run_id)


def register(
    name: str, source_uri: str, run_id: str, alias: str = "champion", tags: Mapping[str, str] | None = None
) -> int:
    """Adds a checkpoint folder as the next version of a model and moves the alias to it; the version."""
    from mlflow.exceptions import MlflowException

    try:
        _client().create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    version = int(_client().create_model_version(name, source_uri, run_id, tags=dict(tags or {})).version)
    _client().set_registered_model_alias(name, alias, str(version))
    return version


def resolve_alias(name: str, alias_or_version: str | int) -> Registered:
    """The version that an alias (or a number) names. UserError if there is none."""
    from mlflow.exceptions import MlflowException

    wanted = str(alias_or_version)
    try:
        if wanted.isdigit():
            version = _client().get_model_version(name, wanted)
        else:
            version = _client().get_model_version_by_alias(name, wanted)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise UserError(
            f"MLflow at {_uri()} has no model {name!r} with version or alias {wanted!r}",
            "Train it first, or name another source",
        ) from error
    return Registered(name, int(version.version), version.source)


def trained_on_snapshots() -> Iterator[Trained]:
    """Every run and every version of a model that says which snapshot it was trained on; deleted ones say nothing."""
    for version in _pages(_client().search_model_versions):
        if SNAPSHOT in version.tags:
            said = f"model {version.name} version {version.version} at {version.source}"
            yield Trained(version.tags[SNAPSHOT], said)
    experiments = [one.experiment_id for one in _pages(_client().search_experiments)]
    for run in _pages(_client().search_runs, experiment_ids=experiments, filter_string=f"tags.{SNAPSHOT} LIKE '%'"):
        yield Trained(run.data.tags[SNAPSHOT], f"run {run.info.run_id} ({run.info.run_name}, {run.info.status})")


def history(run_id: str, name: str) -> list[tuple[float, float]]:
    """Every logged (step, value) of a metric, by step."""
    return sorted((float(one.step), float(one.value)) for one in _client().get_metric_history(run_id, name))


def artifact(run_id: str, name: str) -> bytes | None:
    """The bytes of an artifact, None where the run has none of that name."""
    place = PurePosixPath(name)
    folder = "" if place.parent == PurePosixPath(".") else str(place.parent)
    if name not in {one.path for one in _client().list_artifacts(run_id, folder)}:
        return None
    with tempfile.TemporaryDirectory() as target:
        return Path(_client().download_artifacts(run_id, name, target)).read_bytes()


def is_configured() -> bool:
    """Whether a tracking server is named."""
    return bool(os.environ.get("MLFLOW_TRACKING_URI"))


def check_server() -> None:
    """UserError unless the tracking server answers and lets us in."""
    uri = _uri()
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https"):
        try:
            port = parts.port or {"http": 80, "https": 443}[parts.scheme]
            socket.create_connection((parts.hostname or "", port), REACH_SECONDS).close()
        except OSError as error:
            raise UserError(f"Can't reach MLflow at {uri}: {error}", "Set MLFLOW_TRACKING_URI; is it up?") from error
    from mlflow.exceptions import MlflowException

    try:
        _client().search_experiments(max_results=1)
    except MlflowException as error:
        raise UserError(f"MLflow at {uri} refuses: {error}", "Set MLFLOW_TRACKING_TOKEN or _USERNAME") from error


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as `a.b` keys."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        found.update(flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value})
    return found


def _open(experiment: str, name: str, tags: Mapping[str, str], key: str | None) -> Run:
    experiment_id = _experiment(experiment)
    if key:
        earlier = _client().search_runs([experiment_id], f"tags.`{RUN_KEY}` = '{key}'", max_results=1)
        if earlier:
            _client().update_run(earlier[0].info.run_id, status="RUNNING")
            return Run(earlier[0].info.run_id, resumed=True)
    all_tags = {**tags, **({RUN_KEY: key} if key else {})}
    return Run(_client().create_run(experiment_id, tags=all_tags, run_name=name).info.run_id)


def _experiment(name: str) -> str:
    from mlflow.exceptions import MlflowException

    found = _client().get_experiment_by_name(name)
    if found:
        return str(found.experiment_id)
    try:
        return str(_client().create_experiment(name))
    except MlflowException as error:  # another job made it meanwhile
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return _experiment(name)


def _log_params(run_id: str, params: Mapping[str, Any]) -> None:
    from mlflow.entities import Param

    batch = [Param(name, str(value)[:LONGEST_PARAM]) for name, value in flat(params).items()]
    for first in range(0, len(batch), PARAMS_A_BATCH):
        _client().log_batch(run_id, params=batch[first : first + PARAMS_A_BATCH])


def _pages(search: Callable[..., Any], **asked: Any) -> Iterator[Any]:
    """All that a search of MLflow's client finds, page by page."""
    token = None
    while True:
        page = search(page_token=token, **asked)
        yield from page
        token = page.token
        if not token:
            return


def _uri() -> str:
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        raise UserError("MLFLOW_TRACKING_URI is not set", "On the local stack: `make up`, then .stack/env")
    return uri


def _client() -> Any:
    return _client_of(_uri())


@cache
def _client_of(uri: str) -> Any:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    # Loading a pickled model from a registry runs its code; ours are safetensors and JSON.
    os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    from mlflow import MlflowClient  # 1.7 CPU-seconds: paid by processes that log, not by those that import us

    return MlflowClient(uri)
