"""The cluster as DNS sees it: its objects, the records that they stand for, and the two sources they come from.

balancers.py   how a Service is reached from outside
objects.py     what is kept of each object
columns.py     what a slice has in a row
endpoints.py   Endpoints as EndpointSlices
selectors.py   label selectors
members.py     the endpoints that an answer is made of
records.py     one Service as RRsets
addresses.py   addresses in use, by whom
external.py    Services by that
entrances.py   Ingresses, Gateways and routes by that
store.py       all objects, by the keys that DNS asks with
search_lists.py  names that nobody meant
reasons.py     why a name has nothing
answers.py     what a name says
asked.py       what a name says that somebody asked for
labels.py      what they say of a query
listing.py     all names, for a transfer
account.py     the objects behind a name, for a person
apiserver/     the objects of a live API server
manifests/     the objects that files describe
"""
