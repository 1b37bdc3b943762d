"""`kdns help`: the manual of a plugin."""

from kdns import plugins
from kdns.commands.flags import parser


def run(words: list[str]) -> int:
    """Print it."""
    if len(words) != 1:
        parser().error("help takes the name of a plugin")
    print(plugins.manual(words[0]).rstrip())
    return 0
