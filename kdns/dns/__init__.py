"""DNS itself: names, queries, responses and their wire. No I/O, and nothing of Kubernetes or of a configuration.

types.py        the protocol's numbers
names.py        domain names as text and on the wire
query.py        a question, and how its message is read
plain.py        what of a query an answer depends on, without decoding it
response.py     an answer: RRsets with rdata ready to send
rdata.py        rdata as text and on the wire
zone.py         a zone: its records, and what it says of any name
master.py       zone files
catalog.py      zones that list zones
compression.py  names that stand in a message already
ring.py         a reply whose records turn
encoding.py     a response as a message
reply.py        what an upstream said, as a response
transfer.py     zone transfers, and NOTIFY
"""
