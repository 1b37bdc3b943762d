"""The server: sockets, a Corefile taken up, start, reload and end.

in_flight.py   queries that wait
backlog.py     and those that wait to be begun, under overload
accept.py      connections, and how many
sockets.py     addresses to listen on
datagrams.py   UDP, one datagram at a time
calls.py       what mmsg calls of the C library, made of calls.h
mmsg.py        many datagrams for one system call
udp.py         UDP in batches
stream.py      a TCP connection
tcp.py         messages on connections
http.py        health, readiness, metrics
doh.py         what a request of DNS over HTTPS says
http2.py       DNS over HTTPS on connections that speak HTTP/2
https.py       DNS over HTTPS
schemes.py     how an address may be spoken to
lag.py         how late the event loop is
memory.py      how much of it the process may have
load.py        a Corefile made ready to serve
run.py         from start to end
node_local.py  on each node: what NodeLocal DNSCache's arguments ask for
"""
