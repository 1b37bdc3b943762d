"""Where a Service and its slices stand in manifests, looked for when a person wants to know: nothing remembers lines.

Where the manifests are large, that is the work of a process of its own.
"""

import asyncio
import pickle
import sys
from collections.abc import Collection, Sequence

import msgspec
from msgspec import field, Struct

from kdns.cluster.endpoints import key_of
from kdns.cluster.manifests.apart import asked, Lost
from kdns.cluster.manifests.documents import files, read
from kdns.cluster.manifests.faults import place_of
from kdns.cluster.manifests.markup import Reading
from kdns.cluster.objects import Metadata
from kdns.errors import ManifestError

WITHIN = 5.0  # seconds for a process of its own

Places = dict[tuple[str, str], str]  # by kind and key: cluster.yaml:12


class _Named(Struct, gc=False):
    metadata: Metadata = field(default_factory=Metadata)


def places(paths: Sequence[str], wanted: Collection[tuple[str, str]]) -> Places:
    """The places of those that are wanted, by kind and key; ManifestError where the files cannot be read (any more)."""
    found: Places = {}
    reading = Reading()
    for path in files(paths):
        for document in read(path, reading):
            if not any(document.kind == kind for kind, _ in wanted):
                continue
            metadata = msgspec.json.decode(document.json, type=_Named).metadata
            metadata.namespace = metadata.namespace or "default"
            if (document.kind, key_of(metadata)) in wanted:
                found[document.kind, key_of(metadata)] = place_of(document)
    return found


async def places_apart(paths: Sequence[str], wanted: Collection[tuple[str, str]]) -> Places:
    """The same by a process of its own; ManifestError, too, where it takes too long."""
    try:
        async with asyncio.timeout(WITHIN):
            found: Places | ManifestError = pickle.loads(await asked(__name__, pickle.dumps((list(paths), list(wanted)))))
    except TimeoutError:
        raise ManifestError(f"not found within {WITHIN:g} s") from None
    except (Lost, EOFError, pickle.UnpicklingError) as error:
        raise ManifestError(str(error)) from None
    if isinstance(found, ManifestError):
        raise found
    return found


def main() -> None:
    """A request on standard input, the places or an error on standard output."""
    try:
        found: Places | ManifestError = places(*pickle.load(sys.stdin.buffer))
    except ManifestError as error:
        found = error
    pickle.dump(found, sys.stdout.buffer)


if __name__ == "__main__":
    main()
