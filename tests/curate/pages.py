"""A bucket of any number of objects that exist only as pages of a listing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

PAGE = 1000
_MODIFIED = datetime(2026, 1, 1, tzinfo=UTC)


class Pages:
    """In place of an S3 client: every prefix holds `count` objects, every second of them the sidecar of the next."""

    def __init__(self, count: int):
        self.count = count
        self.asked = 0

    def list_objects_v2(self, Bucket: str, Prefix: str, **position: str) -> dict[str, Any]:
        self.asked += 1
        # Names are numbers: what comes after "00000012" is the source of that name, its sidecar first.
        after = 2 * int(position["StartAfter"][-8:]) if "StartAfter" in position else 0
        first = int(position.get("ContinuationToken", after))
        last = min(first + PAGE, self.count)
        page = {"Contents": [self._item(Prefix, n) for n in range(first, last)], "IsTruncated": last < self.count}
        return page | {"NextContinuationToken": str(last)}

    def _item(self, prefix: str, number: int) -> dict[str, Any]:
        key = f"{prefix}{number // 2:08d}.{'mp4' if number % 2 else 'json'}"
        return {"Key": key, "ETag": f'"{number:032x}"', "Size": number, "LastModified": _MODIFIED}
