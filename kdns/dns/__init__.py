"""DNS itself: names, queries, responses and their wire. No I/O, and nothing of Kubernetes or of a configuration.

types.py      the protocol's numbers
names.py      domain names as text and on the wire
query.py      a question, and how its message is read
response.py   an answer: RRsets with rdata ready to send
zone.py       what a zone says of names that are not there
encoding.py   a response as a message
reply.py      what an upstream said, as a response
"""
