"""What `kdns` can be told to do: a file for each command, and what they share. `cli` chooses among them.

A command is a module with `run(words)`, which takes the words after its name and gives the exit status. What keeps it from its
work is a KdnsError; a wrong flag is one line and exit status 2.

flags.py      the command line's words
lines.py      what the process writes
corefiles.py  the Corefile that a person gives, and those that stand for manifests or for none
serve.py      kdns, kdns --manifests
demo.py       kdns demo
against.py    kdns check --against
check.py      kdns check
help.py       kdns help
asking.py     a running server is asked, and what it says is shown
explain.py    kdns explain
tail.py       kdns tail
dump.py       kdns dump
flush.py      kdns flush
"""

COMMANDS = {  # each a module here, imported when it is asked for
    "demo": "serve a small cluster to look at",
    "check": "say all that is wrong with a Corefile, and what differs from CoreDNS; nothing is served",
    "explain": "how a name is answered, by which plugin, from which objects, and why",
    "tail": "queries as a server answers them",
    "dump": "the zones of a server as master files, or what it has in its memo",
    "flush": "forget what a server keeps of a name",
    "help": "show this, or the manual of a plugin",
}
