"""A client of the API server for tests: plain HTTPS with the standard library, so that it shares nothing with kdns.

Synchronous, safe to call from several threads: connections are kept open and used again; `apply` can use several itself.
"""

import http.client
import json
import ssl
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

Object = dict[str, Any]

PATHS = {
    "Namespace": ("/api/v1", "namespaces"),
    "Node": ("/api/v1", "nodes"),
    "Service": ("/api/v1", "services"),
    "Endpoints": ("/api/v1", "endpoints"),
    "Pod": ("/api/v1", "pods"),
    "EndpointSlice": ("/apis/discovery.k8s.io/v1", "endpointslices"),
    "ClusterRole": ("/apis/rbac.authorization.k8s.io/v1", "clusterroles"),
    "ClusterRoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "clusterrolebindings"),
}
CLUSTER_SCOPED = {"Namespace", "Node", "ClusterRole", "ClusterRoleBinding"}
MERGE_PATCH = "application/merge-patch+json"
_CONNECTION_GONE = (http.client.RemoteDisconnected, http.client.CannotSendRequest, ConnectionError, ssl.SSLError)


class ApiError(Exception):
    """The API server said no: `code` (HTTP), `reason` (as in a Status object)."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code, self.reason = code, reason


class Api:
    """Objects by kind and name; a name is `namespace/name`, or `name` alone where the kind has no namespace."""

    def __init__(self, port: int, authority: Path, token: str, host: str = "127.0.0.1") -> None:
        self._host, self._port, self._token = host, port, token
        self._tls = ssl.create_default_context(cafile=str(authority))
        self._idle: list[http.client.HTTPSConnection] = []

    def get(self, kind: str, name: str) -> Object:
        return self.request("GET", _path(kind, name))

    def objects(self, kind: str, namespace: str | None = None, **query: str) -> list[Object]:
        """All objects of a kind; `query` holds what the API takes: labelSelector, fieldSelector."""
        where = _path(kind, f"{namespace}/" if namespace else "")
        items = self.request("GET", f"{where}?{urlencode(query)}")["items"]
        return [{**item, "kind": kind} for item in items]

    def create(self, obj: Object) -> Object:
        """Creates it, its status too: that goes through its own subresource, as a kubelet's does for a Pod."""
        kind, name = obj["kind"], _name(obj)
        created = self.request("POST", _path(kind, name.rpartition("/")[0] + "/" * ("/" in name)), obj)
        return self.patch_status(kind, name, obj["status"]) if "status" in obj else created

    def put(self, obj: Object) -> Object:
        return self.request("PUT", _path(obj["kind"], _name(obj)), obj)

    def patch(self, kind: str, name: str, change: Object) -> Object:
        """A JSON merge patch (RFC 7396)."""
        return self.request("PATCH", _path(kind, name), change, MERGE_PATCH)

    def patch_status(self, kind: str, name: str, status: Object) -> Object:
        return self.request("PATCH", _path(kind, name) + "/status", {"status": status}, MERGE_PATCH)

    def delete(self, kind: str, name: str, grace_seconds: int | None = 0) -> None:
        """No error where it is not there. With the default a Pod goes at once, as if its kubelet had finished."""
        grace = "" if grace_seconds is None or kind != "Pod" else f"?gracePeriodSeconds={grace_seconds}"
        try:
            self.request("DELETE", _path(kind, name) + grace)
        except ApiError as error:
            if error.code != 404:
                raise

    def remove_namespace(self, name: str, timeout: float = 30.0) -> None:
        """Deletes it and returns once it is gone, its terminating Pods finished as their kubelets would.

        Raises TimeoutError after `timeout` seconds.
        """
        self.delete("Namespace", name)
        deadline = time.monotonic() + timeout
        while any(found["metadata"]["name"] == name for found in self.objects("Namespace")):
            if time.monotonic() > deadline:
                raise TimeoutError(f"namespace {name}: not gone after {timeout:g} s")
            for pod in self.objects("Pod", name):
                if "deletionTimestamp" in pod["metadata"]:
                    self.delete("Pod", _name(pod))
            time.sleep(0.05)

    def apply(self, objects: Path | Iterable[Object], workers: int = 1) -> None:
        """Creates them, or changes what is there; a path is a YAML file or a folder of them.

        What has no namespace comes first, then the rest: in their order with one worker, in any with more.
        """
        wanted = read(objects) if isinstance(objects, Path) else list(objects)
        first = [obj for obj in wanted if obj["kind"] in CLUSTER_SCOPED]
        for obj in first:
            self._create_or_patch(obj)
        self.each(self._create_or_patch, [obj for obj in wanted if obj["kind"] not in CLUSTER_SCOPED], workers)

    def each(self, act: Callable[[Object], Any], objects: Iterable[Object], workers: int = 4) -> None:
        """act(object) for each, in several threads; the first error is raised."""
        if workers == 1:
            for obj in objects:
                act(obj)
            return
        with ThreadPoolExecutor(workers) as pool:
            for _ in pool.map(act, objects):
                pass

    def _create_or_patch(self, obj: Object) -> None:
        try:
            self.create(obj)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            self.patch(obj["kind"], _name(obj), obj)
            if "status" in obj:
                self.patch_status(obj["kind"], _name(obj), obj["status"])

    def request(self, method: str, path: str, body: Object | None = None, type: str = "application/json") -> Object:
        """One request; raises ApiError, or OSError where the server is away."""
        status, text = self.exchange(method, path, body, type)
        if status < 300:
            answered: Object = json.loads(text)
            return answered
        try:
            said = json.loads(text)
            raise ApiError(status, said.get("reason", ""), said.get("message", ""))
        except ValueError:
            raise ApiError(status, "", text.decode(errors="replace").strip()) from None

    def exchange(
        self, method: str, path: str, body: Object | None = None, type: str = "application/json"
    ) -> tuple[int, bytes]:
        """HTTP status and body, as they come."""
        text = None if body is None else json.dumps(body)
        if self._idle:
            try:
                return self._exchange(self._idle.pop(), method, path, text, type)
            except _CONNECTION_GONE:
                self.close()  # a server may close what was idle: once more, afresh
        fresh = http.client.HTTPSConnection(self._host, self._port, timeout=30, context=self._tls)
        return self._exchange(fresh, method, path, text, type)

    def _exchange(
        self, connection: http.client.HTTPSConnection, method: str, path: str, body: str | None, type: str
    ) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": type, "Accept": "application/json"}
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            answered = response.status, response.read()
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return answered

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()


def read(path: Path) -> list[Object]:
    """The objects of a YAML file, or of all in a folder in the order of their names."""
    files = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
    return [obj for file in files for obj in yaml.load_all(file.read_text(), yaml.CSafeLoader) if obj]


def _name(obj: Object) -> str:
    name: str = obj["metadata"]["name"]
    return name if obj["kind"] in CLUSTER_SCOPED else f"{obj['metadata'].get('namespace', 'default')}/{name}"


def _path(kind: str, name: str = "") -> str:
    """`prod/web` is one object; `prod/` the objects of a namespace; the empty name all of them."""
    prefix, plural = PATHS[kind]
    namespace, slash, name = name.rpartition("/")
    parts = [prefix, *(["namespaces", namespace] if slash else []), plural, *([name] if name else [])]
    return "/".join(parts)
