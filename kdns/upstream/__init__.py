"""Upstreams: the DNS servers that questions are forwarded to.

tallies.py     what is counted
targets.py     the words that name upstreams in a Corefile, and files of nameservers
outstanding.py questions that have no reply yet, by id (no I/O)
udp.py         questions over UDP, from source ports that change
connections.py connections that are kept
tcp.py         questions over TCP and DNS over TLS, on connections that are kept
doh.py         how a question is put in HTTP (no I/O)
http1.py       questions over HTTP/1.1, where an upstream speaks that alone
https.py       questions over HTTPS, on connections that are kept
edns.py        whether EDNS passes to an upstream and back
health.py      whether an upstream answers at all
upstream.py    one upstream: all of the above
policies.py    which of several is asked first
attempts.py    one question to several, until one answers
sources.py     which there are, by files and host names whose addresses may change
resolving.py   these addresses
primary.py     zones that are transferred to us, and telling others
"""
