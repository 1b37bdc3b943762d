"""Of the library `kubernetes` only what is used is in the process, and nobody else notices."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

UNUSED = "{'requests', 'oauthlib', 'websocket', 'pydantic', 'dateutil', 'kubernetes.client', 'kubernetes.informer'}"
IMPORT = "import sys; import kdns.cluster.apiserver.library as library; "
FAKE = {
    "__init__.py": "from . import aio",
    "aio/__init__.py": "WHOLE = True",
    "aio/client/__init__.py": "",
    "aio/client/configuration.py": "class Configuration: pass",
    "aio/client/rest.py": "class RESTClientObject: pass",
    "aio/config/__init__.py": "ConfigException = load_incluster_config = load_kube_config = None",
}


def says(code: str, folder: Path | None = None) -> str:
    """What a program prints, in an interpreter of its own; `folder` goes before what is installed."""
    path = f"import sys; sys.path[:0] = {[str(folder)] if folder else []} + [{str(ROOT)!r}]; "
    done = subprocess.run([sys.executable, "-c", path + code], capture_output=True, text=True, timeout=30)
    assert "" == done.stderr
    return done.stdout.strip()


def test_what_is_not_used_is_not_imported() -> None:
    assert "set()" == says(IMPORT + f"print({UNUSED} & sys.modules.keys())")


AUTHORITIES = """
import asyncio, ssl
from aiohttp import connector
context = connector._SSL_CONTEXT_VERIFIED
print(context.cert_store_stats()["x509"], context.verify_mode.name, context.check_hostname)
context.set_default_verify_paths = None  # is not asked: the class's is
context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="localhost")
print(context.cert_store_stats() == ssl.create_default_context().cert_store_stats(), "wrap_bio" in vars(context))
"""


def test_authorities_are_read_when_a_connection_needs_them() -> None:
    assert ["0 CERT_REQUIRED True", "True False"] == says(IMPORT + AUTHORITIES).splitlines()


def test_who_imports_the_library_later_gets_it_whole() -> None:
    later = "import kubernetes.aio.client as c; from kubernetes.aio.client.api_response import ApiResponse as R; "
    shown = "print(c.V1Pod(kind='Pod').kind, R(status_code=200, data=1, raw_data=b'').data, c.ApiClient is library.ApiClient)"
    assert "Pod 1 False" == says(IMPORT + later + shown)


def test_who_imported_it_before_shares_it() -> None:
    assert "True" == says("import kubernetes.aio.client as c; " + IMPORT + "print(c.ApiClient is library.ApiClient)")


@pytest.mark.parametrize(
    "needs_more",
    [
        "from kubernetes.aio import WHOLE",
        "import kubernetes.aio\nassert kubernetes.aio.WHOLE",
        "from pydantic import BaseModel\nBaseModel.model_json_schema",
    ],
)
def test_a_version_that_needs_more_is_imported_as_it_is(needs_more: str, tmp_path: Path) -> None:
    for name, text in {**FAKE, "aio/client/api_client.py": f"{needs_more}\nclass ApiClient: pass"}.items():
        path = tmp_path / "kubernetes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert "ApiClient True" == says(IMPORT + "print(library.ApiClient.__name__, sys.modules['kubernetes'].aio.WHOLE)", tmp_path)


def test_without_the_library_the_error_names_it(tmp_path: Path) -> None:
    (tmp_path / "kubernetes.py").write_text("")
    code = "try:\n    import kdns.cluster.apiserver.library\nexcept ImportError as error:\n    print(error)"
    assert "No module named 'kubernetes.aio'; 'kubernetes' is not a package" == says("\n" + code, tmp_path)
