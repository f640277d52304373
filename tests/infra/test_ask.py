"""infra.local.ask: where the demo's endpoint listens."""

from __future__ import annotations

import socket
from pathlib import Path

import yaml

from infra.local.ask import config_with_port

CONFIG = {"http_options": {"port": 0, "host": "0.0.0.0"}, "applications": [{"name": "a", "args": {"expander": {}}}]}


def written(folder: Path, own: int, running: int | None) -> tuple[str, dict[str, object]]:
    source, target = folder / "source.yaml", folder / "target.yaml"
    source.write_text(yaml.safe_dump(CONFIG | {"http_options": {"port": own, "host": "0.0.0.0"}}))
    url = config_with_port(source, target, running, expands=True)
    return url, yaml.safe_load(target.read_text())["http_options"]


def test_the_endpoint_takes_the_configs_port_where_nothing_listens_and_a_running_serves_where_it_does(
    tmp_path: Path,
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        taken.listen()
        url, options = written(tmp_path, port, None)
        assert not url.endswith(f":{port}") and url == f"http://127.0.0.1:{options['port']}"
        assert written(tmp_path, port, port)[1] == {"port": port, "host": "127.0.0.1"}
    assert written(tmp_path, port, None)[0] == f"http://127.0.0.1:{port}"
