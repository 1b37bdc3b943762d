"""kdns: the DNS server of a Kubernetes cluster.

The way of a query, and the way of a change::

    socket ─ batch of datagrams ─► memo ── hit ──────────────────────────► batch of replies ─ socket
                                    │ miss                                      ▲
                                    ▼                                           │
                                 decode ─► plugin chain (fixed order) ─► encode ─► memo

    API server (list, watch) ─┐
    manifests (files) ────────┴─► store ─► what changed ─► memo forgets exactly that

The folders in reading order; a folder imports only from those above it, and lists its files in its own `__init__`::

    errors     all errors that are raised on purpose
    dns        names, queries, responses and their wire
    config     the Corefile
    core       a server block at work: the memo, and what a plugin is
    cluster    Kubernetes' objects, the records they stand for, and where they come from
    upstream   other servers that questions are forwarded to
    plugins    one file each
    server     sockets; start, reload and end
    commands   what the command line can be told to do
    cli        which of them it is told
    testing    a server for tests, of kdns's own and of others; pytest_plugin makes it a fixture

docs/architecture.md says why it is made so, docs/plugin.md how to write a plugin.
"""

__version__ = "0.1.0"
