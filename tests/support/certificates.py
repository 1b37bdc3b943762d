"""Certificates for tests: an authority, and what it signs, made by openssl."""

import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple

_CONFIG = """
[ca]
default_ca = this
[this]
database = {folder}/index
new_certs_dir = {folder}
rand_serial = yes
default_md = sha256
policy = any
copy_extensions = copy
x509_extensions = signed
[signed]
basicConstraints = critical, CA:FALSE
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[any]
commonName = supplied
"""
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Pair(NamedTuple):
    """Paths of a certificate and its key."""

    cert: Path
    key: Path


class Authority:
    """A root that signs certificates; all of it is in one folder."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.folder = folder / name
        self.folder.mkdir()
        (self.folder / "index").touch()
        (self.folder / "config").write_text(_CONFIG.format(folder=self.folder))
        self.root = Pair(self.folder / "ca.crt", self.folder / "ca.key")
        usage = "keyUsage=critical,keyCertSign,cRLSign"  # Python 3.13 looks for it
        _openssl(
            "req", "-x509", *_KEY, "-days", "2", "-subj", f"/CN={name}", "-addext", usage,
            "-keyout", self.root.key, "-out", self.root.cert,
        )  # fmt: skip

    def sign(self, name: str, expired: bool = False) -> Pair:
        """A certificate for a name and 127.0.0.1."""
        made = Pair(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        request = self.folder / f"{name}.csr"
        names = f"subjectAltName=DNS:{name},IP:127.0.0.1"
        _openssl("req", *_KEY, "-subj", f"/CN={name}", "-addext", names, "-keyout", made.key, "-out", request)
        dates = ("-startdate", "20200101000000Z", "-enddate", "20210101000000Z") if expired else ("-days", "2")
        _openssl(
            "ca", "-batch", "-notext", "-config", self.folder / "config", "-cert", self.root.cert, "-keyfile", self.root.key,
            *dates, "-in", request, "-out", made.cert,
        )  # fmt: skip
        return made


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, str]:
    """A server's context with a certificate that it signed itself for a name and 127.0.0.1, and that certificate's file."""
    cert, key = folder / f"{name}.crt", folder / f"{name}.key"
    names = f"subjectAltName=DNS:{name},IP:127.0.0.1"
    _openssl("req", "-x509", *_KEY, "-days", "2", "-subj", f"/CN={name}", "-addext", names, "-keyout", key, "-out", cert)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context, str(cert)


def _openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)
