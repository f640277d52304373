"""A Ray of a test module's own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

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


@contextmanager
def own_nodes(count: int, num_cpus: int) -> Iterator[None]:
    """A cluster of several nodes on this host, beside a head that does no work, in a folder of its own."""
    from ray.cluster_utils import Cluster

    with tempfile.TemporaryDirectory(prefix="rw") as folder, patch.dict(os.environ, RAY_TMPDIR=folder):
        (Path(folder) / "ray").mkdir()
        cluster = Cluster(True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        try:
            for _ in range(count):
                cluster.add_node(wait=False, num_cpus=num_cpus)
            cluster.wait_for_nodes()
            ray.init(address=cluster.address, log_to_driver=False)
            yield
        finally:
            ray.shutdown()
            cluster.shutdown()
