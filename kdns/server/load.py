"""From the text of a Corefile to a generation that is ready to be served. Nothing is bound or dialled here."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from kdns import plugins
from kdns.config.corefile import parse
from kdns.config.directive import Directive
from kdns.config.options import read
from kdns.core.block import Block
from kdns.core.files import read_text, Reading
from kdns.core.generation import ENCRYPTED, Generation, Where
from kdns.core.listener import Listener
from kdns.core.plugin import Plugin
from kdns.errors import CorefileError, FileError, KdnsError, NoSuchPlugin
from kdns.server import memory
from kdns.server.schemes import SCHEMES
from kdns.server.sockets import shown

STDIN = ("-", "stdin")


def read_corefile(path: str) -> str:
    """The text of a Corefile, `-` and `stdin` being standard input; CorefileError where it cannot be had."""
    if path not in STDIN:
        try:
            return read_text(path)
        except FileError as error:
            raise CorefileError(str(error)) from None
    try:
        return sys.stdin.read()
    except ValueError:
        raise CorefileError(f"cannot read {path}: it is not UTF-8 text") from None


def load(text: str, filename: str = "Corefile", dns_port: int = 53, generation: Generation | None = None) -> Generation:
    """Fill a Generation with what a Corefile describes.

    CorefileError says what is wrong, a line for each thing, each with file and line of the Corefile. Where it fails, the
    Generation may hold things made already: its `close` ends them.
    """
    if generation is None:
        generation = Generation()
    generation.files[filename] = text
    parsed = parse(text, filename, Reading(generation.files), dns_port)
    if not parsed:
        raise CorefileError(f"{filename}: no server block; the least is a zone such as '.' and a plugin")
    blocks = [generation.add(one) for one in parsed]
    wrong: list[str] = []
    for block in blocks:
        readable: list[Readable] = []
        wrong += _read(block, readable)
        wrong += _make(block, readable)
    _raise(wrong)
    _listen(generation)
    return generation


def _raise(wrong: Iterable[str]) -> None:
    lines = list(wrong)
    if lines:
        raise CorefileError("\n".join(lines))


class Readable(NamedTuple):
    """A directive that can be read: the plugin that it names, and the options that it gives."""

    directive: Directive
    plugin: type[Plugin]
    options: Any


def _read(block: Block, readable: list[Readable]) -> Iterator[str]:
    """Read what the directives of a server block say, and make nothing of it yet; what is wrong, by lines."""
    parsed = block.parsed
    for key in parsed.keys:
        if key.scheme not in SCHEMES:
            served = ", ".join(f"{scheme}://" for scheme in SCHEMES)
            yield f"{parsed.file}:{parsed.line}: {key.scheme}:// is not served by kdns; {served} are: put a proxy in front of one"
    for directive in parsed.directives:
        try:
            plugin = _class_of(directive)
            first = block.directives(directive.name)[0]
            if plugin.once and first is not directive:
                raise directive.error(f"may stand only once in a server block, and stands at {first.file}:{first.line}")
            options, notes = read(plugin.table, directive)
            block.notes += notes
            block.notes += [str(directive.error(plugin.note))] if plugin.note else []
            readable.append(Readable(directive, plugin, options))
        except CorefileError as error:
            yield from str(error).split("\n")


def _make(block: Block, readable: list[Readable]) -> Iterator[str]:
    """Make the plugins of a server block, in their fixed order whatever the order of the lines; what is wrong, by lines."""
    made: list[tuple[str, Plugin]] = []
    for directive, plugin, options in sorted(readable, key=lambda one: _place(one.directive.name)):
        try:
            made.append((directive.name, plugin(block, directive, options)))
        except KdnsError as error:
            yield from str(error).split("\n")
        except OSError as error:
            yield str(directive.error(str(error)))
    block.complete(made)


def _class_of(directive: Directive) -> type[Plugin]:
    """The plugin that a directive names."""
    try:
        return plugins.load(directive.name)
    except CorefileError as error:
        if isinstance(error, NoSuchPlugin) and directive.name in plugins.INSTEAD:
            raise directive.error(plugins.INSTEAD[directive.name]) from None
        if isinstance(error, NoSuchPlugin) and directive.name not in plugins.ORDER:
            raise directive.unknown(plugins.ORDER) from None
        raise directive.error(str(error)) from None


def _place(name: str) -> int:
    """Where a plugin stands in a chain; one from elsewhere before those that dial out or end it."""
    return plugins.ORDER.index(name if name in plugins.ORDER else "loop")


def _listen(generation: Generation) -> None:
    """The listening addresses that the server blocks name; their memos share one budget."""
    wanted = [
        (Where(key.scheme, address, key.port), key.zone, block)
        for block in generation.blocks
        for address in block.addresses or [""]
        for key in block.parsed.keys
    ]
    octets = generation.memo_budget or memory.budget(memory.allowed())
    octets //= max(1, len({where for where, _, _ in wanted}))
    for where, zone, block in wanted:
        server = f"{where.scheme}://{shown(where.address, where.port)}"
        generation.listen(where, server, octets).add(zone, block)
    _raise(line for where, listener in generation.listeners.items() for line in _encryption(where, listener))


def _encryption(where: Where, listener: Listener) -> Iterator[str]:
    """What is wrong about how an address is encrypted, by lines: it is one encryption, and TLS needs one."""
    if where.scheme not in ENCRYPTED:
        return
    address = f"{where.scheme}://{shown(where.address, where.port)}"
    blocks = {id(block): block for several in listener.blocks.values() for block in several}.values()
    for block in blocks:
        if block.encryption is not None and block.encryption != listener.encryption:
            other = next(one.parsed for one in blocks if one.encryption == listener.encryption)
            yield (
                f"{block.parsed.file}:{block.parsed.line}: {address} has one certificate for all its zones: write the same tls"
                f" as in the server block at {other.file}:{other.line}, or give it an address of its own (bind)"
            )
    if listener.encryption is None:
        for block in blocks:
            at = f"{block.parsed.file}:{block.parsed.line}: {address}"
            if where.scheme == "tls":
                yield f"{at} needs a certificate: add tls CERT KEY"
            else:
                block.notes.append(f"{at} is HTTP without TLS, for a proxy with a certificate; else add tls CERT KEY")


def notes(generation: Generation) -> list[str]:
    """A line for each thing that a person should know who wrote the Corefile, with file and line."""
    return [note for block in generation.blocks for note in block.notes]


def summary(generation: Generation) -> list[str]:
    """A line for each zone and address that is served, as CoreDNS shows them: `cluster.local.:53 on 127.0.0.1`."""
    lines: dict[str, None] = {}
    for block in generation.blocks:
        for address in block.addresses or [""]:
            for key in block.parsed.keys:
                scheme = "" if key.scheme == "dns" else f"{key.scheme}://"
                lines[f"{scheme}{key.zone}:{key.port or generation.port}" + (f" on {address}" if address else "")] = None
    return list(lines)
