"""Which model is served: the registry's aliases resolved to versions, with the last answer kept in the bucket.

Only the ingress asks MLflow; the workers read what it wrote. So serving starts without MLflow, and goes on when it is
down, with the version that was resolved last.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import Any

from reelworks import storage
from reelworks.errors import ReelworksError, StorageError, StorageErrorKind, UserError
from reelworks.generate.request import Defaults, Limits, Strides
from serving.record import ModelPin, Part

logger = logging.getLogger(__name__)

# A registry that takes connections and doesn't answer would hold MLflow's client for minutes.
PATIENCE_S = 20.0


class Served(Part):
    """The resolved versions, and what the DiT's checkpoint says of itself."""

    dit: ModelPin
    expander: ModelPin | None
    limits: Limits
    defaults: Defaults
    strides: Strides


def resolve(model: str, expander: str | None) -> Served:
    """Resolves model sources (`mlflow:name@alias` or `s3://folder`). Raises UserError or StorageError."""
    dit = _pin(model)
    if not dit.uri.startswith("s3://"):
        raise UserError(f"{model!r} can't be served", "Name the DiT by mlflow:name@alias or s3://bucket/folder")
    config: dict[str, Any] = json.loads(storage.get_bytes(f"{dit.uri}/config.json"))
    shape = config["architecture"]
    return Served(
        dit=dit,
        expander=_pin(expander) if expander else None,
        limits=Limits(**config["limits"]),
        defaults=Defaults(**config["defaults"]),
        strides=Strides(shape["temporal_stride"], shape["spatial_stride"], tuple(shape["patch"])),
    )


def read_served(root: str) -> Served | None:
    """What an ingress resolved last; None before the first has."""
    try:
        return Served.model_validate_json(storage.get_bytes(_uri(root)))
    except StorageError as error:
        if error.kind is StorageErrorKind.not_found:
            return None
        raise


def write_served(root: str, served: Served) -> None:
    """Makes a resolution known to every replica; of two ingresses at once, either's answer will do."""
    data = served.model_dump_json().encode()
    found = storage.create_once(_uri(root), data)
    if found.data != data:
        storage.swap(_uri(root), found.etag, data)


class Watch:
    """The resolution as this replica knows it, looked up again every `refresh_s` by a thread of its own."""

    def __init__(self, root: str, model: str, expander: str | None, refresh_s: float):
        self._current: Served | None = None
        self._began = time.monotonic()
        self._root, self._model, self._expander, self._refresh_s = root, model, expander, refresh_s
        self._stop = threading.Event()

    def start(self) -> None:
        """Starts the thread."""
        threading.Thread(target=self._run, daemon=True, name="served").start()

    def current(self) -> Served | None:
        """What is served; None until the registry has answered, or for long enough not."""
        if self._current is None and time.monotonic() - self._began > PATIENCE_S:
            self._current = self._last()
        return self._current

    def stop(self) -> None:
        """Ends the thread."""
        self._stop.set()

    def refresh(self) -> None:
        """Resolves once; keeps what is known where that fails."""
        try:
            served = resolve(self._model, self._expander)
            if served != self._current:
                write_served(self._root, served)
                logger.info("serving %s version %s", served.dit.name, served.dit.version)
            self._current = served
        except Exception as error:  # MLflow's own exceptions included: an outage there may not stop serving
            logger.warning("%s can't be resolved, the last version stays: %s", self._model, error)
            if self._current is None:
                self._current = self._last()

    def _last(self) -> Served | None:
        try:
            return read_served(self._root)
        except ReelworksError as error:
            logger.warning("the last resolved version can't be read: %s", error)
            return None

    def _run(self) -> None:
        while not self._stop.is_set():
            self.refresh()
            self._stop.wait(self._refresh_s if self._current else 1.0)


def _pin(source: str) -> ModelPin:
    """Name, version and digest; a source that only its worker fetches (hf:, package:, a path) keeps an empty digest."""
    if not source.startswith(("mlflow:", "s3://")):
        return ModelPin(name=source, version=None, digest="", uri=source)
    from reelworks.resolve import pin

    if source.startswith("mlflow:"):
        from reelworks.tracking import check_server

        check_server()  # an unreachable registry is known at once, not after MLflow's minutes of retries
    pinned, _, digest = pin(source).partition("#")
    name, _, rest = pinned.removeprefix("mlflow:").partition("@")
    number, _, uri = rest.partition("=")
    if not uri:  # a folder of the bucket, named by itself
        return ModelPin(name=pinned.rpartition("/")[2], version=None, digest=digest, uri=pinned)
    return ModelPin(name=name, version=int(number), digest=digest, uri=uri)


def _uri(root: str) -> str:
    return f"{root.rstrip('/')}/served.json"
