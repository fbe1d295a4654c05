"""Serves the page of `answers`.

By default only browsers on this machine can reach it. Pages of other sites cannot use it: requests must name this host, and
pictures must come from the page itself.
"""

import json
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any

from keras_resnet.errors import InputError

LOG = logging.getLogger("keras_resnet")
HERE, PORT = "127.0.0.1", 8500
EVERYWHERE = ("0.0.0.0", "::")
PAGE, PICTURE = "/", "/picture"
MOST_BYTES = 2**25  # of a picture
MOST_DIGITS = 12  # of a Content-Length: Python refuses to parse thousands of digits
WAIT = 30.0  # seconds for a request to arrive


class Server(ThreadingHTTPServer):
    """Serves one page, and answers the pictures that it sends.

    Args:
        page: its HTML.
        answer: a function from the content of an image file to a dictionary for JSON; the page shows the text of an InputError.
        host, port: where to listen; port 0 takes a free one. InputError if that is not possible.
    """

    daemon_threads = True

    def __init__(self, page: str, answer: Callable[[bytes], dict[str, Any]], host: str = HERE, port: int = PORT) -> None:
        self.page, self.answer, self.host = page, answer, host
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), Handler)
        except OSError as error:
            raise InputError(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from None

    @property
    def url(self) -> str:
        """The address to open in a browser, also on another machine if `host` allows that."""
        host = own_address() if self.host in EVERYWHERE else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log for debugging only: a browser that disconnects is not an error."""
        LOG.debug("no answer to %s", client_address, exc_info=True)


def own_address() -> str:
    """The address of this machine in its network; nothing is sent to find it out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for examples (RFC 5737)
            return str(probe.getsockname()[0])
        except OSError:
            return HERE


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server
    timeout = WAIT

    def do_GET(self) -> None:
        """The page."""
        if not self.is_for_us():
            return self.refuse(HTTPStatus.FORBIDDEN, "this host name is not served")
        if self.path != PAGE:
            return self.refuse(HTTPStatus.NOT_FOUND, "there is only one page, /")
        return self.send(HTTPStatus.OK, self.server.page.encode(), "text/html; charset=utf-8")

    def do_POST(self) -> None:
        """A picture, as the body of the request."""
        length = self.headers.get("Content-Length", "")
        if not self.is_for_us() or self.headers.get("Origin") != f"http://{self.headers.get('Host')}":
            return self.refuse(HTTPStatus.FORBIDDEN, "pictures are accepted from the page of this server only")
        if self.path != PICTURE:
            return self.refuse(HTTPStatus.NOT_FOUND, "pictures go to /picture")
        if not length.isascii() or not length.isdigit():
            return self.refuse(HTTPStatus.LENGTH_REQUIRED, "the request has no valid Content-Length")
        if len(length) > MOST_DIGITS or int(length) > MOST_BYTES:
            return self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the picture has more than {MOST_BYTES:,} bytes")
        try:
            answer = self.server.answer(self.rfile.read(int(length)))
        except InputError as error:
            return self.refuse(HTTPStatus.BAD_REQUEST, str(error))
        return self.send(HTTPStatus.OK, json.dumps(answer).encode(), "application/json")

    def is_for_us(self) -> bool:
        """Whether the Host header is an IP address, localhost, or the host name to listen on. Any other name may be an attack
        (DNS rebinding)."""
        host = (self.headers.get("Host") or "").lower().removesuffix(f":{self.server.server_port}")
        with suppress(ValueError):
            return host in ("localhost", self.server.host.lower()) or bool(ip_address(host.strip("[]")))
        return False

    def refuse(self, status: HTTPStatus, why: str) -> None:
        """Send an error, which the page shows, and close the connection without reading the rest of the request."""
        self.close_connection = True
        self.send(status, json.dumps({"error": why}).encode(), "application/json")

    def send(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        """Send a response."""
        self.send_response(status)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log requests for debugging only."""
        LOG.debug(format, *arguments)
