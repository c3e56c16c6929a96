"""A small web server on loopback that can misbehave, for the tests of downloads."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BODY = bytes(range(256)) * 1000


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.server.asked.append((self.path, start))
        how = self.path.split("/")[1]
        if how == "missing":
            return self.send_error(404)
        if how == "page":
            return self._send(b"<html>log in</html>", 0, "text/html")
        if how == "short":
            return self._send(BODY[:100], 0)
        if how == "other":
            return self._send(BODY[::-1][start:], start)
        if how == "endless":
            return self._send(BODY * 3, 0)
        if how == "slow":
            self.server.hold.wait(5)
        if how == "norange":
            start = 0
        half = len(BODY) // 2
        self._send(BODY[start:], start, cut=half if how in ("cut", "norange") and start < half else None)

    def _send(self, body: bytes, start: int, kind: str = "application/octet-stream", cut: int | None = None) -> None:
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", kind)
        if not self.path.startswith("/endless"):
            self.send_header("Content-Length", str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{start + len(body) - 1}/{start + len(body)}")
        self.end_headers()
        self.wfile.write(body[: cut if cut is not None else len(body)])

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serve() -> Iterator[ThreadingHTTPServer]:
    """The first folder of a path says how the server behaves. ``server.asked`` are (path, first byte); ``server.url`` is its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.asked, server.hold = [], threading.Event()
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.hold.set()
            server.shutdown()
            thread.join()
