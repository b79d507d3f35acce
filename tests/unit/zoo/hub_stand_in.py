"""The part of the Hugging Face Hub's HTTP interface that uploading and downloading a model need.

Made from the hub's published API (repositories, preupload, commit as JSON lines, Git LFS batch, tree,
resolve). Everything else is answered with 404 and remembered in `unknown`, so that a client that asks for
more is noticed.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

Route = Mapping[str, str]
"""What the path of a request names."""


@dataclass
class Hub:
    """State of the stand-in."""

    token: str
    url: str = ""
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    lfs: dict[str, bytes] = field(default_factory=dict)
    lfs_paths: set[str] = field(default_factory=set)
    commits: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def sha(self, repository: str) -> str:
        """A commit hash that changes with the content."""
        content = json.dumps(
            {p: hashlib.sha1(c).hexdigest() for p, c in self.repositories[repository].items()}
        )
        return hashlib.sha1(content.encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    ROUTES = (
        ("POST", r"/api/repos/create", "create"),
        ("POST", r"/api/validate-yaml", "validate_yaml"),
        ("POST", r"/api/models/(?P<repo>[^/]+/[^/]+)/preupload/main", "preupload"),
        ("POST", r"/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch", "batch"),
        ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", "put_lfs"),
        ("POST", r"/lfs-verify", "verify_lfs"),
        ("POST", r"/api/models/(?P<repo>[^/]+/[^/]+)/commit/main", "commit"),
        ("GET", r"/api/models/(?P<repo>[^/]+/[^/]+)(/revision/main)?", "info"),
        ("GET", r"/api/models/(?P<repo>[^/]+/[^/]+)/tree/(?P<revision>[0-9a-f]{40})", "tree"),
        ("HEAD", r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[0-9a-f]{40})/(?P<path>.+)", "resolve"),
        ("GET", r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[0-9a-f]{40})/(?P<path>.+)", "resolve"),
    )

    def _route(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length)
        path = urlsplit(self.path).path
        for method, pattern, name in self.ROUTES:
            match = re.fullmatch(pattern, path)
            if method == self.command and match:
                values = match.groupdict()
                repository = values.get("repo")
                if repository and repository not in self.hub.repositories:
                    self._send(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
                    return
                if self.command in ("POST",) and not self._is_allowed():
                    self._send(401, {"error": "Unauthorized"})
                    return
                getattr(self, f"_{name}")(values)
                return
        self.hub.unknown.append(f"{self.command} {self.path}")
        self._send(404, {"error": "unknown"})

    do_GET = do_POST = do_PUT = do_HEAD = _route  # noqa: N815 (names the base class calls)

    def _is_allowed(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {self.hub.token}"

    def _json(self) -> Any:
        return json.loads(self.body)

    def _create(self, _: Route) -> None:
        wanted = self._json()
        repository = f"{wanted['organization']}/{wanted['name']}"
        exists = repository in self.hub.repositories
        self.hub.repositories.setdefault(repository, {})
        self._send(409 if exists else 200, {"url": f"{self.hub.url}/{repository}", "name": repository})

    def _validate_yaml(self, _: Route) -> None:
        is_good = self._json()["content"].startswith("---\n")
        self._send(200 if is_good else 400, {"warnings": [], "errors": []})

    def _preupload(self, _: Route) -> None:
        files = []
        for file in self._json()["files"]:
            is_text = b"\0" not in base64.b64decode(file["sample"]) and file["size"] < 2**20
            mode = "regular" if is_text and not file["path"].endswith(".safetensors") else "lfs"
            files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False})
        self._send(200, {"files": files})

    def _batch(self, _: Route) -> None:
        objects = []
        for wanted in self._json()["objects"]:
            upload = {"href": f"{self.hub.url}/lfs/{wanted['oid']}"}
            verify = {"href": f"{self.hub.url}/lfs-verify"}
            objects.append({**wanted, "actions": {"upload": upload, "verify": verify}})
        self._send(200, {"transfer": "basic", "objects": objects})

    def _put_lfs(self, route: Route) -> None:
        is_right = hashlib.sha256(self.body).hexdigest() == route["oid"]
        if is_right:
            self.hub.lfs[route["oid"]] = self.body
        self._send(200 if is_right else 400, {})

    def _verify_lfs(self, _: Route) -> None:
        self._send(200 if self._json()["oid"] in self.hub.lfs else 404, {})

    def _commit(self, route: Route) -> None:
        files = dict(self.hub.repositories[route["repo"]])
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                self.hub.commits.append(value["summary"])
            elif item["key"] == "file":
                assert value["encoding"] == "base64"
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.hub.lfs[value["oid"]]
                self.hub.lfs_paths.add(value["path"])
            else:
                self.hub.unknown.append(f"commit {item['key']}")
        self.hub.repositories[route["repo"]] = files
        sha = self.hub.sha(route["repo"])
        self._send(200, {"commitUrl": f"{self.hub.url}/{route['repo']}/commit/{sha}", "commitOid": sha})

    def _info(self, route: Route) -> None:
        siblings = [{"rfilename": path} for path in self.hub.repositories[route["repo"]]]
        document = {
            "id": route["repo"],
            "modelId": route["repo"],
            "sha": self.hub.sha(route["repo"]),
            "siblings": siblings,
        }
        self._send(200, {**document, "tags": [], "private": False, "downloads": 0, "likes": 0})

    def _tree(self, route: Route) -> None:
        self._send(
            200, [self._node(path, content) for path, content in self.hub.repositories[route["repo"]].items()]
        )

    def _node(self, path: str, content: bytes) -> dict[str, Any]:
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        node: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": blob}
        if path in self.hub.lfs_paths:
            oid = hashlib.sha256(content).hexdigest()
            node["lfs"] = {"oid": oid, "size": len(content), "pointerSize": 130}
        return node

    def _resolve(self, route: Route) -> None:
        content = self.hub.repositories[route["repo"]].get(route["path"])
        if content is None or route["revision"] != self.hub.sha(route["repo"]):
            self._send(404, {}, {"X-Error-Code": "EntryNotFound"})
            return
        node = self._node(route["path"], content)
        etag = node["lfs"]["oid"] if "lfs" in node else node["oid"]
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": route["revision"], "Accept-Ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        if asked:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._raw(206 if asked else 200, content[start:], headers)

    def _send(self, status: int, document: Any, headers: dict[str, str] | None = None) -> None:
        self._raw(
            status, json.dumps(document).encode(), {"Content-Type": "application/json", **(headers or {})}
        )

    def _raw(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serve_hub(token: str) -> Iterator[Hub]:
    """A hub on a free local port."""
    hub = Hub(token)
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
