"""A Ray of a test module's own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import ray


@contextmanager
def own_ray(num_cpus: int, object_store_bytes: int = 100 << 20) -> Iterator[None]:
    """A local cluster, never the one that runs already; its folder's name is short, as its sockets need."""
    with tempfile.TemporaryDirectory(prefix="rw") as folder:
        ray.init(
            address="local",
            num_cpus=num_cpus,
            _temp_dir=folder,
            include_dashboard=False,
            object_store_memory=object_store_bytes,
            log_to_driver=False,
        )
        yield
        ray.shutdown()
