"""The local stack: an S3 server, an MLflow server and a Ray head on loopback, with all state in one folder.

`python -m infra.local.stack up | down | status`
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from infra.local import lock, operators, process, seaweed, servers
from reelworks.errors import ReelworksError, UserError

FOLDER = Path(__file__).resolve().parents[2] / ".stack"
BUCKETS = ["raw", "reelworks"]
FREE_BYTES_NEEDED = 3 * 2**30  # the full demo writes 1.5 GiB; SeaweedFS stops writing when 1 GiB is left
# Every process of the stack inherits it: what a crash left behind is found by it.
MARKER = "REELWORKS_STACK"
NAMES = ("s3", "mlflow", "ray")
PORT_NAMES = (*seaweed.PORT_NAMES, *servers.MLFLOW_PORTS, *servers.RAY_PORTS)
STOP_SECONDS = {"s3": 2, "mlflow": 5, "ray": 8}  # SeaweedFS waits 15 s for idle clients; its writes are written


class Stack:
    """The processes, ports and environment of one state folder."""

    def __init__(self, folder: Path = FOLDER):
        self.folder = folder.resolve()
        self.state_file = self.folder / "state.json"
        self.env_file = self.folder / "env"

    def log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def state(self) -> dict[str, Any]:
        return json.loads(self.state_file.read_text()) if self.state_file.exists() else {"processes": {}}

    def running(self) -> dict[str, process.Process]:
        """Those of our processes that live, by name."""
        known = {name: process.Process(**item) for name, item in self.state()["processes"].items()}
        return {name: item for name, item in known.items() if process.is_running(item)}

    def environment(self) -> dict[str, str]:
        """What `.stack/env` says; UserError when the stack was never up."""
        if not self.env_file.exists():
            raise UserError(f"{self.env_file} is not there", "`make up` writes it")
        return dict(line.split("=", 1) for line in self.env_file.read_text().splitlines())

    def up(self, names: Sequence[str] = NAMES, say: Callable[[str], None] = print) -> dict[str, str]:
        """Starts what doesn't run yet, all at once, and waits until it answers; the environment to use it with."""
        running = self.running()
        if all(name in running for name in names):
            say(f"The stack is up already. Its addresses: {self.env_file}")
            return self.environment()
        begun = time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        check_disk(self.folder)
        ports = self._ports(running)
        environment = self._environment(ports)
        # Our own readiness checks talk to S3; nothing else of this process's environment changes.
        os.environ.update({key: value for key, value in environment.items() if key.startswith("AWS_")})
        started = dict(running)
        for name in names:
            if name not in running:
                command = self._command(name, ports)
                started[name] = process.start(command, self.log(name), self._process_environment(environment))
        self.state_file.write_text(
            json.dumps({"ports": ports, "processes": {name: asdict(item) for name, item in started.items()}}, indent=1)
        )
        try:
            self._wait({name: started[name] for name in names}, environment, begun, say)
        except UserError:
            self.down(say=lambda line: None)
            raise
        say(f"The stack is up after {time.monotonic() - begun:.1f} s. Its addresses: {self.env_file}")
        return environment

    def down(self, say: Callable[[str], None] = print) -> None:
        """Ends every process of this stack, at once; data stays."""
        begun = time.monotonic()
        running = self.running()
        threads = [
            threading.Thread(target=process.stop, args=(item, STOP_SECONDS[name])) for name, item in running.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        process.end(lambda: process.carriers(f"{MARKER}={self.folder}"), seconds=3)
        if self.state_file.exists():
            state = self.state()
            seaweed.remove_sockets(state.get("ports", {}))
            self.state_file.write_text(json.dumps({**state, "processes": {}}))
        say(f"The stack is down after {time.monotonic() - begun:.1f} s: {', '.join(running) or 'nothing ran'}")

    def status(self) -> list[str]:
        """A line for each part: whether it runs, where, its log."""
        running, ports = self.running(), self.state().get("ports", {})
        port = {"s3": "s3", "mlflow": "mlflow", "ray": "ray_dashboard"}
        lines = []
        for name in NAMES:
            where = f"http://127.0.0.1:{ports[port[name]]}  pid {running[name].pid}" if name in running else "-"
            lines.append(f"{name:7} {'up  ' if name in running else 'down'}  {where:40}  log {self.log(name)}")
        return lines

    def _ports(self, running: dict[str, process.Process]) -> dict[str, int]:
        """Ports of this start: those of what runs, those that PORTS="mlflow=5000 s3=9000" asks for, free ones."""
        if running:
            return dict(self.state()["ports"])
        asked: dict[str, int] = {}
        for item in os.environ.get("PORTS", "").split():
            name, _, number = item.partition("=")
            if name not in PORT_NAMES or not number.isdigit():
                raise UserError(f"PORTS has {item!r}", f"Write name=number; the names are {', '.join(PORT_NAMES)}")
            process.check_port_free(int(number), name)
            asked[name] = int(number)
        return {**dict(zip(PORT_NAMES, process.free_ports(len(PORT_NAMES)), strict=True)), **asked}

    def _environment(self, ports: dict[str, int]) -> dict[str, str]:
        """Written to `.stack/env` for clients; the credentials of an earlier start stay valid."""
        before = self.environment() if self.env_file.exists() else {}
        access, secret = seaweed.new_credentials()
        token = self.folder / "ray.token"
        servers.new_token(token)
        environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports['s3']}",
            "AWS_ACCESS_KEY_ID": before.get("AWS_ACCESS_KEY_ID", access),
            "AWS_SECRET_ACCESS_KEY": before.get("AWS_SECRET_ACCESS_KEY", secret),
            "AWS_DEFAULT_REGION": "us-east-1",
            "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{ports['mlflow']}",
            "RAY_ADDRESS": f"127.0.0.1:{ports['ray']}",
            "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{ports['ray_dashboard']}",
            "RAY_DASHBOARD": f"http://127.0.0.1:{ports['ray_dashboard']}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
            "RAY_USAGE_STATS_ENABLED": "0",
            # Ray replaces 127.0.0.1 by the host's outer address unless clusters are off; then it listens on loopback.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
            "DS_ACCELERATOR": "cpu",
            "TORCH_EXTENSIONS_DIR": str(operators.FOLDER),
            "HF_HUB_OFFLINE": "1",
            # A job's log is for reading: bars in it are hundreds of lines.
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
            "REELWORKS_CACHE": str(self.folder / "cache"),
        }
        self.env_file.touch(mode=0o600)
        self.env_file.write_text("".join(f"{key}={value}\n" for key, value in environment.items()))
        return environment

    def _process_environment(self, environment: dict[str, str]) -> dict[str, str]:
        inherited = {key: value for key, value in os.environ.items() if key not in ("RAY_ADDRESS", lock.HELD)}
        own = {key: value for key, value in environment.items() if key != "RAY_ADDRESS"}
        # Ray would start a Python worker per logical CPU for each driver: 8 imports on 2 cores, mostly unused.
        return {
            **inherited,
            **own,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # `python` in a job's entry point
            MARKER: str(self.folder),
            "RAY_prestart_worker_first_driver": "0",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }

    def _command(self, name: str, ports: dict[str, int]) -> list[str]:
        """Made only for what is about to start: Ray's clears the folder of its earlier sessions."""
        match name:
            case "s3":
                keys = self.environment()
                access, secret = keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"]
                return seaweed.command(seaweed.Seaweed(self.folder / "s3", ports, access, secret))
            case "mlflow":
                return servers.mlflow_command(self.folder / "mlflow", ports["mlflow"])
            case "ray":
                return servers.ray_command(self.folder, ports)
        raise ValueError(name)

    def _wait(
        self, started: dict[str, process.Process], environment: dict[str, str], begun: float, say: Callable[[str], None]
    ) -> None:
        token = Path(environment["RAY_AUTH_TOKEN_PATH"])
        ready = {
            "s3": lambda: seaweed.is_ready(self.folder / "s3" / "data", self.state()["ports"]["master"]),
            "mlflow": lambda: servers.mlflow_is_ready(environment["MLFLOW_TRACKING_URI"]),
            "ray": lambda: servers.ray_is_ready(environment["RAY_DASHBOARD"], token),
        }
        for name, item in started.items():
            process.wait_until(ready[name], item, name, seconds=120)
            if name == "s3":
                seaweed.create_buckets(BUCKETS)
            if name == "ray" and self.folder == FOLDER:  # a test's stack lives within the lock that the tests hold
                lock.announce_stack(self.folder, item)
            say(f"{name:7} up after {time.monotonic() - begun:.1f} s  log {self.log(name)}")


def check_disk(folder: Path, needed: int = FREE_BYTES_NEEDED) -> None:
    """UserError if the disk of a folder has less than `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder} has {free / 2**30:.1f} GiB free, {needed / 2**30:.1f} GiB are needed", "Free some disk space"
        )


def main(arguments: list[str]) -> int:
    """Runs one command; a user's error is printed, not traced."""
    stack = Stack()
    try:
        match arguments:
            case ["up"]:
                with lock.host_lock("make up", own_stack=stack.folder):
                    operators.remove_stale_locks()
                    stack.up()
            case ["down"]:
                stack.down()
            case ["status"]:
                print("\n".join(stack.status()))
            case _:
                raise UserError(f"No command {' '.join(arguments)!r}", "Use up, down or status")
    except ReelworksError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
