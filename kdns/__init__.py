"""kdns: the DNS server of a Kubernetes cluster.

The way of a query, and the way of a change::

    socket ─ batch of datagrams ─► memo ── hit ──────────────────────────► batch of replies ─ socket
                                    │ miss                                      ▲
                                    ▼                                           │
                                 decode ─► plugin chain (fixed order) ─► encode ─► memo

    API server (list, watch) ─┐
    manifests (files) ────────┴─► store ─► what changed ─► memo forgets exactly that

The files in reading order: `message` and `encoding` (the wire), `names`, `memo`, `plugin` (what a plugin is), `site` (a server
block at work), `cluster.records` (objects to records), `cluster.answers`, `cluster.store`, `plugins.kubernetes`,
`server.udp`, `server.run`, `cli`. A module imports only from those to its right::

    cli > server > plugins > upstream > site > {plugin, cluster, cached} > {zone, memo, corefile, metrics}
        > encoding > {message, directive} > {names, errors}
"""

__version__ = "0.1.0"
