"""`kdns help`: the commands and the plugins with a line each, or the manual of one plugin."""

from kdns import plugins
from kdns.commands import COMMANDS
from kdns.commands.flags import parser
from kdns.errors import KdnsError

SERVING = {
    "kdns [-conf FILE]": "serve a Corefile, as CoreDNS does",
    "kdns --manifests PATH...": "serve the names of a cluster that manifests describe",
}


def run(words: list[str]) -> int:
    """Print it."""
    if len(words) > 1:
        parser().error("help takes the name of a plugin, or nothing")
    print(plugins.manual(words[0]).rstrip() if words else overview())
    return 0


def overview() -> str:
    """What kdns can do, a line for each command and each plugin."""
    known, others = {}, []
    for name in (*plugins.ORDER, *plugins.elsewhere()):
        try:
            known[name] = plugins.manual(name).partition("\n")[0].partition(" - ")[2]
        except KdnsError:
            others.append(name)
    commands = {**SERVING, **{f"kdns {name}": text for name, text in COMMANDS.items()}}
    lines = ["Commands (-h after each shows its flags):", *_table(commands), "", "Plugins (kdns help NAME shows the manual):"]
    lines += _table(known)
    if others:
        lines += ["", f"Not served here: {', '.join(others)}"]
    return "\n".join(lines)


def _table(texts: dict[str, str]) -> list[str]:
    width = max(map(len, texts))
    return [f"    {name:{width}}  {text}" for name, text in texts.items()]
