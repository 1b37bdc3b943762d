"""*tls* - the certificate of addresses that are encrypted, and who may connect to them.

Description
    A server block whose keys begin with tls:// (DNS over TLS, RFC 7858, port 853) or https:// (DNS over HTTPS, RFC 8484, port
    443, path /dns-query, GET and POST, HTTP/2 and HTTP/1.1) is served encrypted. TLS is 1.2 or newer.

    The files are looked at every 5 seconds, and read again when they change: new connections have the new certificate, those
    that are open stay as they are. Files that cannot be used, as when only one of two has been written, change nothing; a line
    in the log and *ready* say so. *ready* also says that a certificate has expired.

    All server blocks of one address share one certificate: write the same *tls* in each, or write it in one of them. Without
    *tls* an https:// address speaks HTTP in the clear, for a proxy before it.

Syntax
    tls CERT KEY [CA] {
        client_auth nocert|request|require|verify_if_given|require_and_verify
        keylog FILE
    }

    CERT KEY     PEM files: the certificate with those between it and its root, and its key, which has no passphrase.
    CA           the roots that clients' certificates must lead to; else the system's.
    client_auth  whether clients show a certificate: never (nocert, the default); if they have one it must be right
                 (verify_if_given); always (require_and_verify). `request` asks for none, as nobody would look at it. `require`
                 is as require_and_verify: a certificate that nobody verifies would prove nothing.

    keylog       the secrets of all connections are added to this file (SSLKEYLOGFILE), so that Wireshark can read what was
                 recorded: for debugging alone.

    Certificates are not fetched here (`acme`): let cert-manager or another ACME client write them, and name the files.

Metrics
    None of its own. Queries are counted with the proto label tls or https.

Differences
    - Certificates are read again when they change; one certificate an address; `client_auth require` verifies.

Examples
    DNS over TLS and over HTTPS beside plain DNS:

        . tls://. https://. {
            tls tls.crt tls.key
            whoami
        }

    Only clients whose certificates a company has signed:

        tls://. {
            tls tls.crt tls.key ca.crt {
                client_auth require_and_verify
            }
            whoami
        }
"""

import base64
import logging
import re
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, UTC

from kdns.config.directive import Directive
from kdns.config.options import argument, choice, option, word
from kdns.core.block import Block
from kdns.core.files import read_octets
from kdns.core.generation import ENCRYPTED
from kdns.core.plugin import Plugin
from kdns.errors import FileError

log = logging.getLogger(__name__)

WATCH = 5.0  # seconds between looks at the files
LARGEST = 1 << 20  # octets of a file
DOT, HTTP = ["dot"], ["h2", "http/1.1"]  # what is spoken inside (ALPN)
_VERIFY = {
    "nocert": ssl.CERT_NONE,
    "request": ssl.CERT_NONE,
    "require": ssl.CERT_REQUIRED,
    "verify_if_given": ssl.CERT_OPTIONAL,
    "require_and_verify": ssl.CERT_REQUIRED,
}
_VALIDITY = re.compile(rb"(?:\x17\x0d([0-9]{12})Z|\x18\x0f([0-9]{14})Z){2}")  # UTCTime and GeneralizedTime (RFC 5280 4.1.2.5)


def _files(o: Directive) -> tuple[str, ...]:
    if any(line.name == "acme" for line in o.block):
        raise ValueError("acme is not served: let cert-manager or another ACME client write the files, and name them: tls CERT KEY")
    return o.arguments(2, 3)


@dataclass(frozen=True)
class Options:
    files: tuple[str, ...] = argument(_files)
    client_auth: str = option(choice(*_VERIFY), "nocert")
    keylog: str = option(word, "")


@dataclass
class Certificate:
    """How an address is encrypted; equal where files and clients are."""

    cert: str
    key: str
    ca: str
    verify: ssl.VerifyMode
    keylog: str = ""

    def read(self) -> None:
        """Read the files; FileError where they cannot be used, and then nothing has changed."""
        pem = _pem(self.cert, b"CERTIFICATE-----")
        _pem(self.key, b"PRIVATE KEY-----")
        self.context, self.http_context = self._context(DOT), self._context(HTTP)
        self.ends = _end(pem)

    def _context(self, protocols: list[str]) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(protocols)
        try:
            context.load_cert_chain(self.cert, self.key, password=_no_passphrase)
        except (OSError, ValueError) as error:
            raise FileError(f"{self.cert} and {self.key}", _why(error)) from None
        if self.ca:
            _pem(self.ca, b"CERTIFICATE-----")
            try:
                context.load_verify_locations(self.ca)
            except OSError as error:
                raise FileError(self.ca, _why(error)) from None
        elif self.verify is not ssl.CERT_NONE:
            context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        context.verify_mode = self.verify
        if self.keylog:
            try:
                context.keylog_filename = self.keylog
            except OSError as error:
                raise FileError(self.keylog, (error.strerror or str(error)).lower()) from None
        return context

    @property
    def paths(self) -> Sequence[str]:
        return [path for path in (self.cert, self.key, self.ca) if path]


class Tls(Plugin):
    table = Options
    once = True

    def __init__(self, block: Block, directive: Directive, options: Options) -> None:
        cert, key, ca = (*map(block.path, options.files), "")[:3]
        keylog = block.path(options.keylog) if options.keylog else ""
        self.certificate = Certificate(cert, key, ca, _VERIFY[options.client_auth], keylog)
        self._amiss: list[str] = []
        try:
            self.certificate.read()
        except FileError as error:
            raise directive.error(str(error)) from None
        block.encrypt(self.certificate)
        block.watch(lambda: self.certificate.paths, self._look, WATCH)
        if not any(key.scheme in ENCRYPTED for key in block.parsed.keys):
            block.notes.append(str(directive.error("has no effect: no zone of this server block begins with tls:// or https://")))

    def _look(self) -> None:
        """A file has changed."""
        try:
            self.certificate.read()
        except FileError as error:
            self._amiss = [f"tls: {error}; the certificate before stays"]
            log.warning("%s", self._amiss[0])
        else:
            self._amiss = []
            log.info("tls: %s has changed, new connections have it", self.certificate.cert)

    def remarks(self) -> list[str]:
        if (ends := self.certificate.ends) is not None and ends < time.time():
            return [*self._amiss, f"tls: the certificate in {self.certificate.cert} has expired: clients refuse it"]
        return self._amiss


def _pem(path: str, mark: bytes) -> bytes:
    """A file's octets; FileError where it cannot be read, or the mark of what it should hold is not in it."""
    octets = read_octets(path, LARGEST)
    if mark not in octets:
        raise FileError(path, f"it holds no PEM with -----BEGIN {mark.decode()}")
    return octets


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase: write it without one")


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason.replace("_", " ").lower() if error.reason else "they are no PEM"
    return str(error)


def _end(pem: bytes) -> float | None:
    """When the first certificate ends, in seconds since 1970; None where that cannot be read."""
    first = re.search(rb"-----BEGIN CERTIFICATE-----(.+?)-----END", pem, re.DOTALL)
    found = _VALIDITY.search(base64.b64decode(first[1])) if first else None
    if found is None:
        return None
    text = (found[2] or (b"20" if found[1] < b"5" else b"19") + found[1]).decode()
    return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()
