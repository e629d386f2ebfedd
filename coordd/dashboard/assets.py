"""Serve the files of the page: read once, gzipped once, sent with an ETag.

Only files of the package are known; no path is ever made from a request. The page is one HTML
file whose scripts and styles are files beside it, so that the Content-Security-Policy needs no exception.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


_PRELOAD = b"<!-- preload -->"
"""Where the page has its scripts named, so that a browser fetches all of them at once."""
_NOT_AT_FIRST = frozenset({"app.js", "theme.js", "host.js", "chart.js"})
MANY = 10
"""The number from which on an icon says only that there are many."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file, ready to be sent."""

    body: bytes
    packed: bytes
    media_type: str
    etag: str

    def response(self, request: Request, *, status: int = 200) -> Response:
        """Return the response to a request, 304 if the browser has the file already."""
        headers = {"etag": self.etag, "cache-control": "no-cache", "vary": "accept-encoding"}
        if status == 200 and self.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["content-encoding"] = "gzip"
            return Response(self.packed, status, headers, media_type=self.media_type)
        return Response(self.body, status, headers, media_type=self.media_type)


def load_assets() -> dict[str, Asset]:
    """Return every file of the page by its name."""
    folder = resources.files("coordd.dashboard") / "static"
    files = {
        file.name: file.read_bytes()
        for file in sorted(folder.iterdir(), key=lambda one: one.name)
        if file.is_file() and file.name.rpartition(".")[2] in _TYPES
    }
    links = b"\n".join(
        b'<link rel="modulepreload" href="static/%b">' % name.encode()
        for name in files
        if name.endswith(".js") and name not in _NOT_AT_FIRST
    )
    files["index.html"] = files["index.html"].replace(_PRELOAD, links)
    icon = files["favicon.svg"]
    for number in range(1, MANY + 1):
        files[f"favicon-{number}.svg"] = icon.replace(b"</svg>", _badge(number) + b"</svg>")
    return {name: asset(body, _TYPES[name.rpartition(".")[2]]) for name, body in files.items()}


def _badge(number: int) -> bytes:
    """Return what an icon bears that says how many need somebody."""
    text = f"{number}" if number < MANY else f"{MANY - 1}+"
    return (
        '<circle cx="22" cy="22" r="10" fill="#8a4a00"/><text x="22" y="26.5" fill="#fff" font-size="12" '
        f'font-family="sans-serif" font-weight="bold" text-anchor="middle">{text}</text>'
    ).encode()


def asset(body: bytes, media_type: str) -> Asset:
    """Return a file's content as an :class:`Asset`."""
    packed = gzip.compress(body, 9, mtime=0)
    return Asset(body, packed, media_type, f'"{zlib.crc32(body):08x}-{len(body):x}"')
