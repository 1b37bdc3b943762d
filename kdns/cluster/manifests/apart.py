"""The loader as a process of its own, and what may become of it.

YAML and JSON are parsed with the interpreter's lock held, which would stop answers for as long, and the memory that it takes
goes with the process. It may be killed for that memory, or not be had at all: that is no fault of the manifests.
"""

import asyncio
import io
import os
import pickle
import signal
import sys
from collections.abc import Sequence

from kdns.cluster.manifests.loading import Loaded, Options
from kdns.errors import ManifestError

WITHIN = 300.0  # seconds; one that takes longer is taken to be stuck
PROGRAM = "kdns.cluster.manifests.loading"


class Lost(Exception):
    """The process ended, or never began, without an answer: its text says how."""


async def load_apart(paths: Sequence[str], options: Options) -> Loaded:
    """What `loading.load` returns or raises; Lost where the process did not live to say it."""
    reply = await asked(PROGRAM, pickle.dumps((list(paths), tuple(options))))
    try:
        return await _unpickled(reply)
    except (EOFError, pickle.UnpicklingError) as error:
        raise Lost(f"was cut off: {error}") from None


async def asked(program: str, request: bytes) -> bytes:
    """What a program of the package writes to what it reads; Lost where it does not."""
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            program,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us alone
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    except OSError as error:
        raise Lost(f"cannot start: {error.strerror}") from None
    try:
        async with asyncio.timeout(WITHIN):
            reply, _ = await process.communicate(request)
    except TimeoutError:
        raise Lost(f"said nothing for {WITHIN:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()  # until its pipes are closed, too
    if process.returncode:
        raise Lost(_ended(process.returncode))
    if not reply:
        raise Lost("said nothing")
    return reply


def _ended(status: int) -> str:
    try:
        return f"was killed ({signal.Signals(-status).name})"
    except ValueError:
        return f"ended with status {status}"


async def _unpickled(reply: bytes) -> Loaded:
    """What the process wrote, a batch at a time: the loop has its turn between them."""
    stream = io.BytesIO(reply)
    unpickler = pickle.Unpickler(stream)
    head: tuple[str, tuple[str, ...]] | ManifestError = unpickler.load()
    if isinstance(head, ManifestError):
        raise head
    loaded = Loaded([], *head)
    while stream.tell() < len(reply):
        loaded.objects.extend(unpickler.load())
        await asyncio.sleep(0)
    return loaded
