"""Fail points: named places at which a process kills itself or its node, or at which its bucket misbehaves, once.

They hang on the events of the S3 client, so the product holds none of it. A point is named
`<role>-<before|after>-<operation>-<subject>-<n>`: in a driver or a worker, before or after an S3 call, about an index
object, captions, a video…, when it is reached for the n-th time by any process of that role. A point is armed by a
file of that name whose content is the action; the process that reaches it takes the file.
"""

from __future__ import annotations

import fcntl
import os
import signal
from pathlib import Path
from typing import Any

import boto3
import psutil
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError
from botocore.httpsession import URLLib3Session

from tests.chaos import standins

ARMED = "REELWORKS_FAILPOINTS"
"""Environment variable with the folder of armed points."""
ROLE = "REELWORKS_FAILPOINT_ROLE"
"""Environment variable with the role of a process; without it, worker."""
REACHED = "reached"
"""Folder beside the armed points: a byte in a file for each time that a point was reached."""
STAGES = ("index", "scores", "captions", "latents", "text", "quarantine", "parts", "snapshots", "runs")
KILLS = ("kill", "raylet")
"""Actions that end a process; the others are the bucket's: 503, cut (no answer), late (time-out), lost (the request is
done, but its answer never comes)."""
SLOW_DOWN = (
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)


def install() -> None:
    """From now on every S3 client of this process passes the points; Ray runs this in each worker as it starts.

    Where the run asks for it, the stand-ins of the slow models are installed too.
    """
    if os.environ.get(standins.STANDINS):
        standins.install()
    make = boto3.session.Session.client

    def client(self: Any, *arguments: Any, **options: Any) -> Any:
        made = make(self, *arguments, **options)
        made.meta.events.register("before-send.s3", _before)
        made.meta.events.register("after-call.s3", _after)
        return made

    boto3.session.Session.client = client


def arm(folder: Path, points: dict[str, str]) -> None:
    """Arm points by name with their action, and count from one again."""
    (folder / REACHED).mkdir(exist_ok=True)
    for file in (folder / REACHED).iterdir():
        file.unlink()
    for name, action in points.items():
        (folder / name).write_text(action)


def disarm(folder: Path) -> set[str]:
    """Take away what is still armed; the names of it, which no process reached."""
    left = {file.name for file in folder.iterdir() if file.is_file()}
    for name in left:
        (folder / name).unlink()
    return left


def _before(request: Any, event_name: str, **_: Any) -> AWSResponse | None:
    action = _take("before", event_name.rpartition(".")[2], request.url)
    if action == "503":
        return AWSResponse(request.url, 503, {}, _Body(SLOW_DOWN))
    if action == "lost":
        URLLib3Session().send(request)
    if action == "late":
        raise ReadTimeoutError(endpoint_url=request.url)
    if action in ("cut", "lost"):
        raise ConnectionClosedError(endpoint_url=request.url)
    return None


def _after(http_response: Any, event_name: str, **_: Any) -> None:
    _take("after", event_name.rpartition(".")[2], http_response.url)


def _take(when: str, operation: str, url: str) -> str:
    """The action of the point that is reached here, if it is armed; does not return from a kill."""
    folder = Path(os.environ[ARMED])
    point = f"{os.environ.get(ROLE, 'worker')}-{when}-{operation}-{subject(url)}"
    file = folder / f"{point}-{_times_reached(folder / REACHED / point)}"
    try:
        action = file.read_text()
        file.unlink()
    except FileNotFoundError:
        return ""
    if action in KILLS:
        os.kill(_raylet() if action == "raylet" else os.getpid(), signal.SIGKILL)
    return action


def _times_reached(counter: Path) -> int:
    with counter.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(b".")
        file.flush()
        return os.fstat(file.fileno()).st_size


def subject(url: str) -> str:
    """What an S3 address is about: a stage's object, a sidecar, a video, or a listing."""
    path, _, query = url.partition("?")
    if "list-type" in query:
        return "listing"
    for part in path.split("/"):
        if part in STAGES:
            return part
    return "sidecar" if path.endswith(".json") else "video"


def _raylet() -> int:
    """The raylet of this worker's node; never the head's, which has no CPU for work."""
    parent = psutil.Process(os.getppid())
    assert "raylet" in parent.name(), parent
    return parent.pid


class _Body:
    """An answer's body as urllib3 would hold it."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def stream(self, *_: Any, **__: Any) -> Any:
        yield self.data
