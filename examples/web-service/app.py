"""A little web service with nothing but the standard library: what the demo deploys.

It serves `/health` with the version of the release directory it was started from, on the port in `PORT`.
"""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

VERSION = Path(__file__).with_name("VERSION").read_text(encoding="utf-8").strip()


class Handler(BaseHTTPRequestHandler):
    """Answers `GET /health` and nothing else."""

    def do_GET(self) -> None:
        """Says that all is well, and which version says so."""
        found = self.path == "/health"
        body = json.dumps({"status": "ok", "version": VERSION} if found else {"error": "not found"}).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's signature
        """Stays quiet."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
