"""What passes the wire to a real S3 server: a proxy of the tests' own that counts and forwards.

It changes nothing, but for the answers that a test asks it to spoil.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

_PIECE_BYTES = 1 << 20
_DRIP_S = 0.02
_OF_THE_LINE = ("connection", "expect", "transfer-encoding")
_REFUSALS = {"403": "AccessDenied", "503": "SlowDown"}


@dataclass(frozen=True)
class Request:
    """One request, and what the server answered to it."""

    method: str
    path: str
    query: str
    headers: Message
    status: int
    body_bytes: int


class Tap:
    """Requests in the order in which they were answered; `endpoint` is where a client has to go."""

    def __init__(self, endpoint: str):
        self.endpoint = endpoint
        self.requests: list[Request] = []
        self.spoil: Iterator[str] = iter(())
        """What happens to the next reads of objects: "" nothing, "503", "403", "gone" (no answer), and of the body
        "cut" (half of it, then the line is closed), "stall" (half of it, then nothing), "drip" (50 bytes a second)."""
        self.spoil_listings: dict[str, Iterator[str]] = {}
        """The same for the next listings of a folder, by its address."""
        self.over = threading.Event()

    def gets(self, uri: str = "s3://") -> list[Request]:
        """Reads of objects under an address."""
        path = "/" + uri.removeprefix("s3://")
        found = [one for one in self.requests if one.method == "GET" and one.path.startswith(path)]
        return [one for one in found if "list-type" not in one.query and one.path.count("/") > 1]

    def listings(self, folder: str) -> list[Request]:
        """Listings of a folder, by its address."""
        return [one for one in self.requests if one.method == "GET" and listed(one.path, one.query) == folder]

    def clear(self) -> None:
        self.requests.clear()


def listed(path: str, query: str) -> str | None:
    """The address of the folder that a request lists, if it does."""
    asked = parse_qs(query)
    return f"s3:/{path.rstrip('/')}/{asked.get('prefix', [''])[0]}" if "list-type" in asked else None


class _Forward(BaseHTTPRequestHandler):
    """One connection of a client; each request goes to the server over a connection of its own."""

    protocol_version = "HTTP/1.1"
    tap: Tap
    server_address: str

    def forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = urlsplit(self.path)
        folder = listed(asked.path, asked.query)
        source = self.tap.spoil if folder is None else self.tap.spoil_listings.get(folder, iter(()))
        spoiled = next(source, "") if self.command == "GET" else ""
        if spoiled == "gone" or spoiled in _REFUSALS:
            self._refuse(spoiled)
            return
        answer, content = self._answer(body)
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in (*_OF_THE_LINE, "content-length"):
                self.send_header(name, value)
        self.send_header("Content-Length", answer.getheader("Content-Length") or str(len(content)))
        self.end_headers()
        self._note(answer.status, len(content))
        if spoiled:
            self._spoil(spoiled, content)
            return
        for first in range(0, len(content), _PIECE_BYTES):
            self.wfile.write(content[first : first + _PIECE_BYTES])

    def _answer(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        upstream = http.client.HTTPConnection(self.server_address, timeout=60)
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in _OF_THE_LINE:
                upstream.putheader(name, value)
        upstream.endheaders(body)
        answer = upstream.getresponse()
        content = b"" if self.command == "HEAD" else answer.read()
        upstream.close()
        return answer, content

    def _note(self, status: int, body_bytes: int) -> None:
        split = urlsplit(self.path)
        request = Request(self.command, unquote(split.path), split.query, self.headers, status, body_bytes)
        self.tap.requests.append(request)

    def _refuse(self, spoiled: str) -> None:
        self.close_connection = True
        self._note(int(spoiled) if spoiled in _REFUSALS else 0, 0)
        if spoiled in _REFUSALS:
            content = f"<?xml version='1.0'?><Error><Code>{_REFUSALS[spoiled]}</Code></Error>".encode()
            self.send_response_only(int(spoiled))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def _spoil(self, spoiled: str, content: bytes) -> None:
        self.close_connection = True
        try:
            for at in range(len(content) if spoiled == "drip" else 0):
                self.wfile.write(content[at : at + 1])
                time.sleep(_DRIP_S)
            if spoiled != "drip":
                self.wfile.write(content[: len(content) // 2])
            if spoiled == "stall":
                self.tap.over.wait()
        except OSError:
            pass  # the client has given up, as it should

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = forward

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def tapped(server: str) -> Iterator[Tap]:
    """A tap in front of the server at an http:// address; the clients' signatures stay valid."""
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), _Forward)
    tap = Tap(f"http://127.0.0.1:{proxy.server_port}")
    own = {"tap": tap, "server_address": urlsplit(server).netloc}
    proxy.RequestHandlerClass = type("Forward", (_Forward,), own)
    proxy.daemon_threads = True
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield tap
    finally:
        tap.over.set()
        proxy.shutdown()
        proxy.server_close()
        thread.join()
