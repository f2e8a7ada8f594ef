"""The page under `/`: files in memory, with the types and headers that a browser needs for them."""

import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".gz": "application/gzip",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".md": "text/markdown; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}
"""Not left to the machine's own tables, which differ; a browser refuses modules and WebAssembly of another type."""
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; manifest-src 'self'; worker-src 'self'; media-src 'self' blob:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cache-Control": "no-cache",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=(), payment=(), usb=()",
}
"""With the opener policy of every response, the embedder policy lets WebAssembly use threads. A browser asks each time
whether a file has changed, and gets it only then."""
INDEX = "index.html"
_CHUNK = 1 << 16


@dataclass(frozen=True)
class _File:
    content: bytes
    kind: str
    tag: str


class Page:
    """An ASGI app that serves files; nothing else can be reached.

    Args:
        files: the content of each file by its path, such as 'assets/app.js'; 'index.html' stands at '/'.
        policy: the header `Content-Security-Policy`.
    """

    def __init__(self, files: Mapping[str, bytes], policy: str = POLICY):
        self._files = {
            name: _File(
                content,
                CONTENT_TYPES.get(PurePosixPath(name).suffix.lower(), "application/octet-stream"),
                f'"{hashlib.sha256(content).hexdigest()[:32]}"',
            )
            for name, content in files.items()
        }
        self._headers = {**HEADERS, "Content-Security-Policy": policy}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request.

        Raises:
            HTTPException: another method than GET and HEAD, or no such file.
        """
        if scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(405, headers={"Allow": "GET, HEAD"})
        file = self._files.get(scope["path"].removeprefix(scope.get("root_path", "")).removeprefix("/") or INDEX)
        if file is None:
            raise HTTPException(404)
        await self._response(file, Headers(scope=scope))(scope, receive, send)

    def _response(self, file: _File, asked: Headers) -> Response:
        headers = {**self._headers, "ETag": file.tag}
        known = [tag.strip().removeprefix("W/") for tag in asked.get("if-none-match", "").split(",")]
        if file.tag in known:
            return Response(status_code=304, headers=headers)
        headers |= {"Content-Length": str(len(file.content)), "Content-Type": file.kind}
        return StreamingResponse(_chunks(file.content), headers=headers)


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    """Parts, so that a slow client holds one of them and not a copy of the file."""
    for start in range(0, len(content), _CHUNK):
        yield content[start : start + _CHUNK]


def read_files(folder: Path) -> dict[str, bytes]:
    """The files beneath a folder, links left out; none if the folder is not there."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }
