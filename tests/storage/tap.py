"""What passes the wire to a real S3 server: a proxy of the tests' own that counts and forwards, and changes nothing."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

_PIECE_BYTES = 1 << 20
_OF_THE_LINE = ("connection", "expect", "transfer-encoding")


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

    def gets(self, uri: str = "s3://") -> list[Request]:
        """Reads of objects under an address."""
        path = "/" + uri.removeprefix("s3://")
        found = [one for one in self.requests if one.method == "GET" and one.path.startswith(path)]
        return [one for one in found if "list-type" not in one.query and one.path.count("/") > 1]

    def clear(self) -> None:
        self.requests.clear()


@contextmanager
def tapped(server: str) -> Iterator[Tap]:
    """A tap in front of the server at an http:// address; the clients' signatures stay valid."""
    address = urlsplit(server).netloc

    class Forward(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            upstream = http.client.HTTPConnection(address, timeout=60)
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _OF_THE_LINE:
                    upstream.putheader(name, value)
            upstream.endheaders(body)
            answer = upstream.getresponse()
            self.send_response_only(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in (*_OF_THE_LINE, "content-length"):
                    self.send_header(name, value)
            content = b"" if self.command == "HEAD" else answer.read()
            self.send_header("Content-Length", answer.getheader("Content-Length") or str(len(content)))
            self.end_headers()
            split = urlsplit(self.path)
            tap.requests.append(
                Request(self.command, unquote(split.path), split.query, self.headers, answer.status, len(content))
            )
            for first in range(0, len(content), _PIECE_BYTES):
                self.wfile.write(content[first : first + _PIECE_BYTES])
            upstream.close()

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = forward

        def log_message(self, format: str, *args: object) -> None:
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Forward)
    proxy.daemon_threads = True
    tap = Tap(f"http://127.0.0.1:{proxy.server_port}")
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield tap
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
