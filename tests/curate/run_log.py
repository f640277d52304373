"""Stands in for an MLflow run; imports nothing heavy, for drivers that are started again and again."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Log:
    """Keeps what is logged."""

    id: str = "test"
    values: list[dict[str, float]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)

    def metrics(self, values: dict[str, float], step: int | None = None) -> None:
        self.values.append(dict(values))

    def blob(self, data: bytes, name: str) -> None:
        self.files[name] = data

    def json(self, value: Any, name: str) -> None:
        self.files[name] = json.dumps(value, sort_keys=True).encode()
