"""A server block at work, without sockets: the contract of plugins, the chain, the memo, one generation of the configuration.

files.py          files that plugins read, and their changes
lines.py          lines of the log on their way to standard output
expressions/      questions about a query, in a language
prompt.py         a Future that lets whoever waits go on at once
singleflight.py   one question under way for many who ask it
explained.py      queries that are explained to a person
metrics.py        counters, gauges and histograms
served.py         queries as they were served, for who hears of each
entries.py        the entries of the memo
dependents.py     which of them depend on what
memo.py           reply octets by query octets
plugin.py         what a plugin is
queries.py        what is counted of queries
sketch.py         the most frequent of very many things
fallthrough.py    the zones of a plugin, and what it leaves to the next
behind.py         what a server block has behind it
chain.py          the plugins of a server block, as one function
aliases.py        answers that end in an alias
block.py          a server block, and what a plugin may ask of it
counts.py         what is counted at one listening address
listener.py       what answers at one listening address
sentences.py      an answer in one sentence
explanation.py    how a question is answered, for a person
generation.py     all of them, and what a reload carries on
authority.py      plugins that answer from zones
zonefile.py       zones in files
"""
