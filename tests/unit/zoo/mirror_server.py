"""A mirror that misbehaves on request: every failure the store has to survive, over a real socket."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

Fault = Literal[
    "none",
    "dies",  # closes the connection in the middle of every answer
    "dies_once",  # the same, for the first answer only
    "flipped",  # one bit is wrong
    "truncated_range",  # the second answer is a range and holds, correctly framed, half of it
    "wrong_range",  # answers with another range than asked for
    "ignores_range",  # always sends the whole
    "redirects",  # to itself, for ever
    "missing",  # 404
    "stalls",  # sends half and then nothing, keeping the socket open
    "silent",  # accepts and never answers
    "too_long",  # more bytes than the file has
    "busy_once",  # 503, then well
    "huge_length",  # says that 10^15 bytes follow
    "odd_length",  # a length that is no number
    "odd_pause",  # 503, to be asked again after no number of seconds
    "odd_redirect",  # to an address that is none
    "no_length",  # the whole, without saying how long it is
]


@dataclass
class Mirror:
    """What the server serves and what it was asked."""

    content: bytes
    fault: Fault = "none"
    url: str = ""
    requests: list[str] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    mirror: Mirror

    def do_GET(self) -> None:
        mirror = self.mirror
        asked = self.headers.get("Range")
        mirror.requests.append(self.path)
        mirror.ranges.append(asked)
        is_first = len(mirror.requests) == 1
        fault = mirror.fault
        if fault == "missing":
            self._answer(404, b"not here")
        elif fault == "redirects":
            self.send_response(302)
            self.send_header("Location", self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif fault == "odd_redirect":
            self._answer(302, b"", {"Location": "http://[::1"})
        elif fault == "odd_pause":
            self._answer(503, b"", {"Retry-After": "\u00b2"})
        elif fault == "huge_length":
            self._answer(200, b"x", length=10**15)
        elif fault == "odd_length":
            self._answer(200, mirror.content[:-1], {"Content-Length": "\u00b2"}, say_length=False)
        elif fault == "silent":
            mirror.released.wait(20)
            self.close_connection = True
        elif fault == "busy_once" and is_first:
            self._answer(503, b"", {"Retry-After": "7"})
        else:
            self._serve(asked, fault, is_first)

    def _serve(self, asked: str | None, fault: Fault, is_first: bool) -> None:
        content = self.mirror.content
        if fault == "flipped":
            content = bytes([content[0] ^ 1]) + content[1:]
        start = 0
        if asked and fault != "ignores_range":
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])  # type: ignore[index]
        body = content[start:]
        if start >= len(content):
            self._answer(416, b"")
            return
        status, headers = (206, {"Content-Range": self._range(start)}) if start else (200, {})
        if fault == "wrong_range" and start:
            headers = {"Content-Range": self._range(start + 1)}
        if fault == "too_long":
            body += b"more"
        if fault == "truncated_range" and len(self.mirror.requests) == 2:
            self._answer(status, body[: max(1, len(body) // 2)], headers)
        elif fault == "no_length":
            self._answer(status, body, headers, say_length=False)
        elif fault == "stalls":
            self._half(status, body, headers)
            self.mirror.released.wait(20)
        elif fault == "dies" or (fault in ("dies_once", "truncated_range") and is_first):
            self._half(status, body, headers)
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self._answer(status, body, headers)

    def _range(self, start: int) -> str:
        total = len(self.mirror.content)
        return f"bytes {start}-{total - 1}/{total}"

    def _half(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.close_connection = True
        self._answer(status, body[: len(body) // 2], headers, length=len(body))

    def _answer(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        *,
        length: int | None = None,
        say_length: bool = True,
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if say_length:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(body)
            self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # The client closes connections in the middle on purpose.
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@contextlib.contextmanager
def serve(content: bytes, fault: Fault = "none") -> Iterator[Mirror]:
    """A mirror on a free local port; `mirror.url` is its base address."""
    mirror = Mirror(content, fault)
    handler = type("Handler", (_Handler,), {"mirror": mirror})
    with _Server(("127.0.0.1", 0), handler) as server:
        mirror.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield mirror
        finally:
            mirror.released.set()
            server.shutdown()
            thread.join()
