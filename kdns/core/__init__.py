"""A server block at work, without sockets: the contract of plugins, the chain, the memo, one generation of the configuration.

metrics.py   counters, gauges and histograms
memo.py      reply octets by query octets
plugin.py    what a plugin is
site.py      a server block, a listening address, a generation of them
"""
