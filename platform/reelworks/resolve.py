"""Model sources opened: one syntax everywhere, resolved to a local folder and a digest of its files.

    hf:org/name[@revision]      s3://bucket/folder        mlflow:name@alias-or-version
    package:module/sub/folder   a local path

A pinned source is `SOURCE#digest` (for the registry `mlflow:name@3=s3://…#digest`, so that actors need no MLflow).
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reelworks.config import fingerprint
from reelworks.errors import StorageError, StorageErrorKind, UserError
from reelworks.storage import MARKER, download_folder, get_bytes

SYNTAX = "Write hf:org/name, s3://bucket/folder, mlflow:name@alias, package:module/folder or a path"
# What a model needs to load; weights as pickles are never fetched.
HF_PATTERNS = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]


@dataclass(frozen=True)
class Model:
    """A resolved source: its pinned form, the digest of its files, where they lie on this machine."""

    source: str
    digest: str
    path: Path
    version: int | None
    uri: str


def resolve_model(source: str) -> Model:
    """The files of a source on this machine, fetched at most once.

    Raises UserError: unknown syntax, nothing there, or a pinned source whose files differ from its digest.
    """
    address, _, wanted = source.partition("#")
    place, version = _place(address)
    if place.startswith("s3://"):
        digest = wanted if wanted and _cached(wanted) else _digest_of_bucket(place)
        _compare(source, wanted, digest)
        path = _download(place, digest)
    else:
        path = _local(place)
        digest = _digest_of_folder(path)
        _compare(source, wanted, digest)
    return Model(_pinned(address, place, version, digest), digest, path, version, place)


def pin(source: str) -> str:
    """The immutable form of a source, for resolved recipes; fetches nothing from a bucket but its marker."""
    address, _, wanted = source.partition("#")
    if wanted:
        return source
    place, version = _place(address)
    digest = _digest_of_bucket(place) if place.startswith("s3://") else _digest_of_folder(_local(place))
    return _pinned(address, place, version, digest)


def read_model_file(source: str, name: str) -> bytes:
    """One small file of a model, without its weights. Raises UserError where the source has no such file."""
    place, _ = _place(source.partition("#")[0])
    try:
        return get_bytes(f"{place}/{name}") if place.startswith("s3://") else (_local(place) / name).read_bytes()
    except (FileNotFoundError, StorageError) as error:
        if isinstance(error, StorageError) and error.kind is not StorageErrorKind.not_found:
            raise
        raise UserError(f"{source} has no {name}", "give the folder that a job or Transformers wrote") from error


def _pinned(address: str, place: str, version: int | None, digest: str) -> str:
    if version is not None:
        return f"{address.partition('@')[0]}@{version}={place}#{digest}"
    return f"{place}#{digest}"


def _place(address: str) -> tuple[str, int | None]:
    """Where the files of an address are (a bucket's folder, hf:, package: or a path) and its registered version."""
    if not address.startswith("mlflow:"):
        return address.rstrip("/"), None
    name, _, chosen = address.removeprefix("mlflow:").partition("@")
    number, _, place = chosen.partition("=")
    if not name or not number:
        raise UserError(f"{address!r} names no version or alias", "Write mlflow:name@champion")
    if place:
        return place, int(number)
    from reelworks.tracking import resolve_alias

    found = resolve_alias(name, number)
    return found.uri.rstrip("/"), found.version


def _local(place: str) -> Path:
    """The folder of an hf:, package: or path source."""
    if place.startswith("hf:"):
        return _from_hugging_face(place.removeprefix("hf:"))
    if place.startswith("package:"):
        module, _, folder = place.removeprefix("package:").partition("/")
        spec = importlib.util.find_spec(module)
        if spec is None or not spec.submodule_search_locations:
            raise UserError(f"{place}: the Python package {module!r} is not installed", f"pip install {module}")
        path = Path(spec.submodule_search_locations[0]) / folder
    else:
        path = Path(place)
    if not path.is_dir():
        raise UserError(f"There is no model folder {path} (from {place!r})", SYNTAX)
    return path


def _from_hugging_face(name: str) -> Path:
    from huggingface_hub import snapshot_download

    repository, _, revision = name.partition("@")
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=HF_PATTERNS))
    except Exception as error:  # its errors have no parent of their own: network, gate, name, offline
        raise UserError(
            f"Can't get hf:{name}: {error}", "Is the name right, HF_TOKEN set, HF_HUB_OFFLINE 0?"
        ) from error


def _digest_of_bucket(uri: str) -> str:
    try:
        return _digest(json.loads(get_bytes(f"{uri}/{MARKER}")))
    except StorageError as error:
        if error.kind is not StorageErrorKind.not_found:
            raise
        raise UserError(f"{uri} is no committed checkpoint: it has no {MARKER}", SYNTAX) from error


def _digest_of_folder(folder: Path) -> str:
    """Digest of a local folder's files; remembered by their sizes and times, since big models take minutes."""
    files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
    files.pop(MARKER, None)
    if not files:
        raise UserError(f"The model folder {folder} is empty", SYNTAX)
    facts = {name: [path.stat().st_size, path.stat().st_mtime_ns] for name, path in files.items()}
    memo = _cache() / "digests" / fingerprint({"folder": str(folder.resolve()), "files": facts})
    if memo.is_file():
        return memo.read_text()
    digest = _digest({name: _digest_of_file(path) for name, path in files.items()})
    memo.parent.mkdir(parents=True, exist_ok=True)
    partial = memo.with_suffix(f".{os.getpid()}")
    partial.write_text(digest)
    partial.replace(memo)
    return digest


def _digest(files: Mapping[str, str]) -> str:
    """sha256 over the sorted (file, sha256) pairs."""
    return fingerprint(sorted([name, digest] for name, digest in files.items()))


def _digest_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _compare(source: str, wanted: str, found: str) -> None:
    if wanted and wanted != found:
        raise UserError(f"The files of {source} changed: their digest is {found}", "Pin the source again")


def _download(uri: str, digest: str) -> Path:
    folder = _cache() / "models" / digest
    with _one_process(folder):
        return folder if _cached(digest) else download_folder(uri, folder)


def _cached(digest: str) -> bool:
    return (_cache() / "models" / digest / MARKER).is_file()


@contextmanager
def _one_process(folder: Path) -> Iterator[None]:
    """Ten actors of a machine ask for a model at once: one fetches it, nine wait."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _cache() -> Path:
    return Path(os.environ.get("REELWORKS_CACHE") or Path.home() / ".cache" / "reelworks")
