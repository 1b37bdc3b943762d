"""Objects from an API server: list and watch, and a snapshot to start from without it.

events.py      what an API server says, from bytes
tallies.py     what is counted
library.py     what is used of the library `kubernetes`
kubeconfig.py  what is wrong with one
client.py      requests to it
resources.py   what is asked for
screening.py   names that may not reach an answer
intake.py      objects as they came, into the store
pages.py       a list in pages
provenance.py  versions and ages, for a person
reflector.py   list and watch of one resource
own_file.py    a file that nobody else may have written
snapshot.py    what is known, in a file
source.py      all of it: keeps a store at what the API server says
"""
