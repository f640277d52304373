"""Folders in the bucket (checkpoints): committed by one marker written last, so that half of one is never read."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from reelworks.errors import StorageError, StorageErrorKind, UserError
from reelworks.storage.objects import create_file_once, create_once, get_bytes, get_file, head

MARKER = "COMMITTED"
# Enough to hide the latency of small files; a big one fills the line alone.
THREADS = 8


def upload_folder(folder: Path, uri: str) -> None:
    """Stores every file of a folder, then the marker {file: sha256} whose creation is the commit.

    Raises StorageError `changed` if the bucket already holds another file under one of the names.
    """
    uri = uri.rstrip("/")
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    names = [name for name in names if name != MARKER]
    if not names:
        raise UserError(f"{folder} holds no files", "A checkpoint needs at least config.json")

    def store(name: str) -> str:
        local, stored = _digest(folder / name), create_file_once(f"{uri}/{name}", folder / name)
        if stored != local:
            raise StorageError(StorageErrorKind.changed, f"{uri}/{name}", "another file is stored there")
        return stored

    with ThreadPoolExecutor(THREADS) as pool:
        digests = dict(zip(names, pool.map(store, names), strict=True))
    marker = json.dumps(digests, sort_keys=True).encode()
    if create_once(f"{uri}/{MARKER}", marker).data != marker:
        raise StorageError(StorageErrorKind.changed, f"{uri}/{MARKER}", "the folder was committed with other files")


def is_committed(uri: str) -> bool:
    """Whether a folder has its marker."""
    return head(f"{uri.rstrip('/')}/{MARKER}") is not None


def download_folder(uri: str, folder: Path) -> Path:
    """A committed folder as a local one, every file's digest verified; nothing is fetched twice.

    Raises UserError for a folder without the marker; StorageError for a file that differs from it.
    """
    uri = uri.rstrip("/")
    try:
        marker = get_bytes(f"{uri}/{MARKER}")
    except StorageError as error:
        if error.kind is not StorageErrorKind.not_found:
            raise
        raise UserError(
            f"{uri} is no committed folder: it has no {MARKER}", "Its job did not finish; name another checkpoint"
        ) from error
    if (folder / MARKER).is_file() and (folder / MARKER).read_bytes() == marker:
        return folder
    partial = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")

    def fetch(item: tuple[str, str]) -> None:
        path = partial / item[0]
        if not path.resolve().is_relative_to(partial.resolve()):
            raise StorageError(StorageErrorKind.storage, uri, f"its marker names {item[0]!r}, outside the folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        if get_file(f"{uri}/{item[0]}", path) != item[1]:
            raise StorageError(StorageErrorKind.changed, f"{uri}/{item[0]}", f"digest differs from {MARKER}")

    partial.mkdir(parents=True)
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(fetch, json.loads(marker).items()))
        (partial / MARKER).write_bytes(marker)
        _publish(partial, folder, marker)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _publish(partial: Path, folder: Path, marker: bytes) -> None:
    """Moves a complete folder into place; another process of this machine may have done so meanwhile."""
    try:
        os.rename(partial, folder)
    except OSError:
        if (folder / MARKER).is_file() and (folder / MARKER).read_bytes() == marker:
            return
        shutil.rmtree(folder)
        os.rename(partial, folder)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
