from pathlib import Path

import pytest

from reelworks import storage
from reelworks.errors import StorageError, UserError


def _checkpoint(folder: Path) -> Path:
    (folder / "state").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "state" / "rank0.bin").write_bytes(b"\0" * 1000)
    return folder


def test_an_uploaded_folder_comes_back_whole_and_is_fetched_once(prefix: str, tmp_path: Path) -> None:
    storage.upload_folder(_checkpoint(tmp_path / "here"), f"{prefix}/c/")
    there = storage.download_folder(f"{prefix}/c", tmp_path / "there")
    assert (there / "state" / "rank0.bin").read_bytes() == b"\0" * 1000
    storage.delete(f"{prefix}/c/config.json")
    assert storage.download_folder(f"{prefix}/c", tmp_path / "there") == there
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_folder_without_its_marker_is_never_read(prefix: str, tmp_path: Path) -> None:
    storage.upload_folder(_checkpoint(tmp_path / "here"), f"{prefix}/c")
    assert storage.is_committed(f"{prefix}/c")
    storage.delete(f"{prefix}/c/{storage.MARKER}")
    assert not storage.is_committed(f"{prefix}/c")
    with pytest.raises(UserError, match="no committed folder"):
        storage.download_folder(f"{prefix}/c", tmp_path / "there")


def test_a_file_that_differs_from_the_marker_is_refused(prefix: str, tmp_path: Path) -> None:
    storage.upload_folder(_checkpoint(tmp_path / "here"), f"{prefix}/c")
    storage.delete(f"{prefix}/c/config.json")
    storage.create_once(f"{prefix}/c/config.json", b"evil")
    with pytest.raises(StorageError, match="digest differs"):
        storage.download_folder(f"{prefix}/c", tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_two_checkpoints_never_mix_in_one_folder(prefix: str, tmp_path: Path) -> None:
    storage.upload_folder(_checkpoint(tmp_path / "one"), f"{prefix}/c")
    (_checkpoint(tmp_path / "two") / "config.json").write_text('{"other": 1}')
    with pytest.raises(StorageError, match="another file is stored there"):
        storage.upload_folder(tmp_path / "two", f"{prefix}/c")
