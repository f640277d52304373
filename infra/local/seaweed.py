"""SeaweedFS as the local S3 server: its command line, its credentials and its buckets."""

from __future__ import annotations

import json
import secrets
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

MEGABYTES_A_VOLUME = 64  # small volumes: disk is taken as data arrives, not 30 GB at a time
NUM_VOLUMES = 256  # 16 GiB at most; each bucket is a collection and takes several volumes at once


@dataclass(frozen=True)
class Seaweed:
    """One server: where its data lies, its ports, its one identity."""

    folder: Path
    ports: dict[str, int]  # master, master_grpc, volume, volume_grpc, filer, filer_grpc, s3, s3_grpc
    access_key: str
    secret_key: str

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.ports['s3']}"


PORT_NAMES = ("master", "master_grpc", "volume", "volume_grpc", "filer", "filer_grpc", "s3", "s3_grpc")


def new_credentials() -> tuple[str, str]:
    """An access key and a secret of its own for each stack."""
    return "reelworks" + secrets.token_hex(6), secrets.token_urlsafe(30)


def command(server: Seaweed) -> list[str]:
    """Writes the configuration and returns the command that runs the server in the foreground."""
    data = server.folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    config = server.folder / "s3.json"
    identity = {
        "name": "reelworks",
        "credentials": [{"accessKey": server.access_key, "secretKey": server.secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    config.touch(mode=0o600)
    config.write_text(json.dumps({"identities": [identity]}))
    ports = server.ports
    return [
        str(Path(sys.executable).parent / "weed"),
        "-logtostderr=true",
        "server",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-dir={data}",
        f"-master.port={ports['master']}",
        f"-master.port.grpc={ports['master_grpc']}",
        f"-master.volumeSizeLimitMB={MEGABYTES_A_VOLUME}",
        "-master.volumePreallocate=false",
        "-master.telemetry=false",
        "-master.electionTimeout=1s",
        f"-volume.port={ports['volume']}",
        f"-volume.port.grpc={ports['volume_grpc']}",
        f"-volume.max={NUM_VOLUMES}",
        "-volume.minFreeSpace=1GiB",
        "-volume.preStopSeconds=0",
        "-filer",
        f"-filer.port={ports['filer']}",
        f"-filer.port.grpc={ports['filer_grpc']}",
        "-s3",
        f"-s3.port={ports['s3']}",
        f"-s3.port.grpc={ports['s3_grpc']}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.autoCreateBucket=false",  # a misspelt bucket is an error here as it is anywhere
        f"-s3.config={config}",
        f"-s3.localSocket={server.folder / 's3.sock'}",
        f"-filer.localSocket={server.folder / 'filer.sock'}",
    ]


def create_buckets(names: list[str]) -> None:
    """Creates the buckets that aren't there; endpoint and credentials come from the environment."""
    from reelworks.storage.client import s3, translated

    with translated("s3://"):
        there = {bucket["Name"] for bucket in s3().list_buckets()["Buckets"]}
        for name in names:
            if name not in there:
                s3().create_bucket(Bucket=name)


def is_ready(data: Path, master_port: int) -> bool:
    """Whether the server answers, with these credentials, and its master knows every volume that lies in `data`.

    The gateway answers first: for seconds after a restart on a busy machine it finds no volume of what is stored.
    """
    from reelworks.errors import StorageError
    from reelworks.storage.client import s3, translated

    try:
        with translated("s3://"):
            s3().list_buckets()
        with urllib.request.urlopen(f"http://127.0.0.1:{master_port}/dir/status", timeout=5) as answer:
            topology = json.load(answer)["Topology"]
    except (StorageError, OSError, ValueError):
        return False
    centers = topology["DataCenters"] or []
    nodes = [node for center in centers for rack in center["Racks"] for node in rack["DataNodes"]]
    return bool(nodes) and sum(node["Volumes"] for node in nodes) >= sum(1 for _ in data.glob("*.dat"))


def remove_sockets(ports: dict[str, int]) -> None:
    """SeaweedFS leaves the unix sockets of its gRPC ports in /tmp when it is killed."""
    for name in ("master", "volume", "filer", "s3"):
        if f"{name}_grpc" in ports:
            Path(f"/tmp/seaweedfs-{name}-grpc-{ports[f'{name}_grpc']}.sock").unlink(missing_ok=True)
