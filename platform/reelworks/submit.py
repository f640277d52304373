"""A job submitted through Ray's job API and followed to its end."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

from reelworks.errors import UserError

POLL_SECONDS = 0.5
# A head that doesn't answer for so long is lost; a restarted one does not know the job.
LOST_SECONDS = 30


def follow(jobs: Path, entry: str) -> int:
    """Submits an entry point with `jobs` as working directory and prints its log; the job's exit code.

    Raises UserError when no cluster answers. An interruption stops the job.
    """
    client = _client()
    # Ray caches the uploaded folder by its hash: an unchanged one is not sent again.
    job = client.submit_job(entrypoint=entry, runtime_env={"working_dir": str(jobs), "excludes": ["**/__pycache__"]})
    print(f"job {job}: {entry if len(entry) < 200 else entry[:197] + '...'}", flush=True)
    try:
        return asyncio.run(_until_the_end(client, job))
    except KeyboardInterrupt:
        client.stop_job(job)
        print(f"job {job} stopped", flush=True)
        raise


def _client() -> Any:
    address = os.environ.get("RAY_API_SERVER_ADDRESS")
    if not address:
        raise UserError("RAY_API_SERVER_ADDRESS is not set", "On one machine: `make up`; else the dashboard's http://…")
    from ray.job_submission import JobSubmissionClient

    try:
        client = JobSubmissionClient(address)
    except (ConnectionError, RuntimeError) as error:
        raise UserError(f"No Ray cluster answers at {address}: {error}", "`make status` tells what runs") from error
    logging.getLogger("ray").setLevel(logging.WARNING)  # uploads and closed sockets are no news
    return client


async def _until_the_end(client: Any, job: str) -> int:
    """Prints the log while the job runs. The status is asked for apart: Ray's tail ends 2 s after the job does."""
    log = _Log()
    tail = asyncio.create_task(_tail(client, job, log))
    lost_since = None
    while True:
        try:
            info = await asyncio.to_thread(client.get_job_info, job)
        except (ConnectionError, OSError, RuntimeError) as error:
            lost_since = lost_since or time.monotonic()
            if time.monotonic() - lost_since > LOST_SECONDS:
                tail.cancel()
                raise UserError(f"The cluster is lost: {error}", "`reelworks run --retries N` submits again") from error
        else:
            lost_since = None
            if info.status.is_terminal():
                break
            if tail.done():  # its connection was cut
                tail = asyncio.create_task(_tail(client, job, log))
        await asyncio.sleep(POLL_SECONDS)
    tail.cancel()
    log.show(await asyncio.to_thread(client.get_job_logs, job))
    if info.status.value == "SUCCEEDED":
        return 0
    print(f"job {job}: {info.status.value}: {_first_line(info.message)}", file=sys.stderr, flush=True)
    return info.driver_exit_code or 1


class _Log:
    """What of a job's log is on the screen; the log only grows."""

    def __init__(self) -> None:
        self.printed = 0

    def show(self, whole: str) -> None:
        sys.stdout.write(whole[self.printed :])
        sys.stdout.flush()
        self.printed = max(self.printed, len(whole))


async def _tail(client: Any, job: str, log: _Log) -> None:
    """Prints the log as it grows; ends quietly when the connection does (the next one starts from the beginning)."""
    seen = 0
    try:
        async for text in client.tail_job_logs(job):
            seen += len(text)
            if seen > log.printed:
                sys.stdout.write(text[-(seen - log.printed) :])
                sys.stdout.flush()
                log.printed = seen
    except (OSError, RuntimeError):
        return


def _first_line(message: str | None) -> str:
    return (message or "").partition("\n")[0]
