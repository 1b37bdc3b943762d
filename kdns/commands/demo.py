"""`kdns demo`: a small cluster to look at."""

from kdns.commands import serve
from kdns.commands.corefiles import sample


def run(words: list[str]) -> int:
    """Serve the manifests that kdns brings with it; the words are flags of serving."""
    return serve.run(["--manifests", sample(), *words])
