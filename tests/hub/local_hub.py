"""A small model hub on 127.0.0.1 that can be told to misbehave.

It answers the three routes the compiler uses: `/api/models?search=...`,
`/api/models/ID[/revision/REV]` and `/ID/resolve/REV/FILE`, the last with byte ranges. A `Fault` changes the answer
to the requests whose path contains its text, as often as it says.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "a" * 40
LARGE_SUFFIXES = (".safetensors", ".bin")


@dataclass
class Fault:
    """A misbehaviour.

    Attributes:
        where: text in the path of the requests it applies to.
        status: answer this instead of the file.
        headers: headers of that answer, or added to a whole one.
        reset_after: bytes after which the connection is reset.
        cut_after: bytes after which the connection is closed as if done.
        flip: index of a byte to damage.
        extra_length: added to the true Content-Length.
        extra_bytes: sent after the true body, without any Content-Length.
        hang: never answer until the hub stops.
        ignore_range: answer the whole file whatever was asked.
        times: how many requests it applies to.
    """

    where: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    reset_after: int = -1
    cut_after: int = -1
    flip: int = -1
    extra_length: int = 0
    extra_bytes: bytes = b""
    hang: bool = False
    ignore_range: bool = False
    times: int = 1_000_000


@dataclass(frozen=True)
class Seen:
    """A request that arrived."""

    path: str
    token: str
    range: str


class LocalHub:
    """The server's state; tests change it at will."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.commits: dict[str, str] = {}
        self.details: dict[str, dict[str, object]] = {}
        self.private: set[str] = set()
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.edit_listing: Callable[[dict[str, object]], object] = lambda listing: listing
        self.stopping = threading.Event()
        self.server = _Server(self)

    @property
    def endpoint(self) -> str:
        """Address to put into HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def add(self, model_id: str, files: dict[str, bytes], commit: str = COMMIT) -> None:
        """Publish a repository, or its next commit."""
        self.files[model_id], self.commits[model_id] = dict(files), commit

    def fetched(self) -> list[str]:
        """Names of the files asked for so far, in order."""
        return [seen.path.rsplit("/", 1)[1] for seen in self.seen if "/resolve/" in seen.path]

    def take_fault(self, path: str) -> Fault | None:
        """Return the first fault that applies, and use it up by one."""
        for fault in self.faults:
            if fault.where in path and fault.times > 0:
                fault.times -= 1
                return fault
        return None

    def search(self, query: dict[str, list[str]]) -> list[object]:
        """What the API finds: `details` of the models whose id contains the words."""
        words = query.get("search", [""])[0].casefold()
        limit = int(query.get("limit", ["1000"])[0])
        found = [{"id": name, **more} for name, more in self.details.items() if words in name.casefold()]
        return [self.edit_listing(dict(entry)) for entry in found[:limit]]

    def listing(self, model_id: str) -> object:
        """What the API says about a repository."""
        siblings = [_sibling(name, content) for name, content in self.files[model_id].items()]
        return self.edit_listing({"id": model_id, "sha": self.commits[model_id], "siblings": siblings})


@contextlib.contextmanager
def running(hub: LocalHub) -> Iterator[LocalHub]:
    """Serve `hub` for the block."""
    thread = threading.Thread(target=hub.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.stopping.set()
        hub.server.shutdown()
        hub.server.server_close()
        thread.join()


def _sibling(name: str, content: bytes) -> dict[str, object]:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    sibling: dict[str, object] = {"rfilename": name, "size": len(content), "blobId": blob}
    if name.endswith(LARGE_SUFFIXES):
        sha256 = hashlib.sha256(content).hexdigest()
        sibling["lfs"] = {"size": len(content), "sha256": sha256, "pointerSize": 134}
    return sibling


class _Server(ThreadingHTTPServer):
    """Answers for a hub."""

    daemon_threads = True

    def __init__(self, hub: LocalHub) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.hub = hub


class _Answer(BaseHTTPRequestHandler):
    """One request."""

    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""

    def do_HEAD(self) -> None:
        """The headers of a file: its size, and its hash as the etag."""
        path = unquote(urlsplit(self.path).path)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        self.server.hub.seen.append(Seen(path, token, ""))
        model_id, _, rest = path.removeprefix("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        if self.known(model_id, revision, token) and name in self.server.hub.files[model_id]:
            content = self.server.hub.files[model_id][name]
            sibling = _sibling(name, content)
            large = name.endswith(LARGE_SUFFIXES)
            etag = hashlib.sha256(content).hexdigest() if large else sibling["blobId"]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{etag}"')
            self.send_header("X-Repo-Commit", self.server.hub.commits[model_id])
            self.end_headers()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        self.server.hub.seen.append(Seen(path, token, self.headers.get("Range") or ""))
        fault = self.server.hub.take_fault(path) or Fault("")
        if fault.hang:
            self.server.hub.stopping.wait(20)
        elif fault.status:
            self.refuse(fault.status, fault.headers)
        elif path == "/api/models":
            self.answer_json(self.server.hub.search(parse_qs(urlsplit(self.path).query)))
        elif path.startswith("/api/models/"):
            self.answer_listing(path.removeprefix("/api/models/"), token)
        elif "/resolve/" in path:
            self.answer_file(path, token, fault)
        else:
            self.refuse(404, {})

    def refuse(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def known(self, model_id: str, revision: str, token: str) -> bool:
        if model_id not in self.server.hub.files or (model_id in self.server.hub.private and not token):
            self.refuse(401 if not token else 404, {"X-Error-Code": "RepoNotFound"})
        elif revision not in ("main", self.server.hub.commits[model_id]):
            self.refuse(404, {"X-Error-Code": "RevisionNotFound"})
        else:
            return True
        return False

    def answer_listing(self, rest: str, token: str) -> None:
        model_id, _, revision = rest.partition("/revision/")
        if self.known(model_id, revision or "main", token):
            self.answer_json(self.server.hub.listing(model_id))

    def answer_json(self, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # a search may be cancelled
            self.wfile.write(body)

    def answer_file(self, path: str, token: str, fault: Fault) -> None:
        model_id, _, rest = path[1:].partition("/resolve/")
        revision, _, name = rest.partition("/")
        if not self.known(model_id, revision, token):
            return
        if name not in self.server.hub.files[model_id]:
            self.refuse(404, {"X-Error-Code": "EntryNotFound"})
            return
        content = self.server.hub.files[model_id][name]
        begin = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        begin = 0 if fault.ignore_range else begin
        self.send_body(content, begin, fault)

    def send_body(self, content: bytes, begin: int, fault: Fault) -> None:
        body = bytearray(content[begin:])
        if fault.flip >= begin:
            body[fault.flip - begin] ^= 1
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        for name, value in fault.headers.items():
            self.send_header(name, value)
        if not fault.extra_bytes:
            self.send_header("Content-Length", str(len(body) + fault.extra_length))
        self.end_headers()
        kept = max(fault.reset_after, fault.cut_after)
        with contextlib.suppress(ConnectionError):
            self.wfile.write(bytes(body) + fault.extra_bytes if kept < 0 else bytes(body[:kept]))
        if fault.reset_after >= 0:
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        self.close_connection = True
