"""Objects from manifests, and what a cluster's controllers would make of them.

markup.py        YAML and JSON within bounds
fields.py        what fields and kinds the API has
faults.py        what is wrong with an object, and where
controllers.py   what a cluster's controllers would add
workloads.py     the Pods that workloads stand for
documents.py     files as single objects
validation.py    what an API server would refuse
loading.py       files to objects
apart.py         the same in a process of its own
provenance.py    where an object stands
source.py        files to a store, again when they change
"""
