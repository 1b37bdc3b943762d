"""A kubeconfig, read to say what is wrong with it: who uses it reads it again, and says less."""

from typing import Any
from urllib.parse import urlsplit

import yaml

from kdns.errors import SourceError


def user_of(path: str, wanted: str) -> dict[str, Any]:
    """The user of the context that is wanted, or else of the current one.

    SourceError, with the file and the field, where it is no kubeconfig that can be used.
    """
    where = f"kubeconfig {path}"
    try:
        with open(path, "rb") as file:
            config = yaml.safe_load(file)
        if not isinstance(config, dict):
            raise SourceError(f"{where}: not a kubeconfig, but {type(config).__name__}")
        name = wanted or config.get("current-context")
        if not name:
            raise SourceError(f"{where}: no current-context, and no context is named")
        context = _named(config, "contexts", name, where)["context"]
        cluster = _named(config, "clusters", context["cluster"], where)["cluster"]
        if urlsplit(cluster.get("server", "")).scheme not in ("http", "https"):
            raise SourceError(f"{where}: cluster '{context['cluster']}' has no server with http:// or https://")
        if not context.get("user"):  # `kubernetes` cannot do without
            raise SourceError(f"{where}: context '{name}' has no user")
        user = _named(config, "users", context["user"], where)["user"]
    except OSError as error:
        raise SourceError(f"{where}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise SourceError(f"{where}: not YAML: {' '.join(str(error).split())}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise SourceError(f"{where}: not a kubeconfig: {type(error).__name__} {error}") from None
    return user or {}


def _named(config: dict[str, Any], kind: str, name: str, where: str) -> dict[str, Any]:
    found: dict[str, Any] | None = next((one for one in config.get(kind) or () if one["name"] == name), None)
    if found is None:
        raise SourceError(f"{where}: {kind} has no '{name}'")
    return found
