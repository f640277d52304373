"""reelworks.storage.traffic: what is counted is what was moved."""

from __future__ import annotations

from pathlib import Path

from reelworks import storage


def test_every_way_of_moving_bytes_is_counted(prefix: str, tmp_path: Path) -> None:
    before = storage.moved()
    stored = storage.create_once(f"{prefix}/a", b"12345")
    assert storage.moved() == (before.read, before.written + 5)
    storage.get_bytes(f"{prefix}/a")
    storage.get_bytes(f"{prefix}/a", start=1, length=2)
    storage.get_file(f"{prefix}/a", tmp_path / "a")
    storage.open_ranged(f"{prefix}/a", etag=stored.etag, size=5).read(5)
    assert storage.moved() == (before.read + 17, before.written + 5)
    storage.swap(f"{prefix}/a", stored.etag, b"123")
    assert storage.create_once(f"{prefix}/a", b"1234567").created is False  # it reads what is there
    assert storage.moved() == (before.read + 20, before.written + 8)
