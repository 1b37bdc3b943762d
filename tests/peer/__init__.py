"""kdns beside CoreDNS 1.15, `make test-peer`: the same Corefile and the same questions, one server after the other.

cases/PLUGIN.toml  what is served and asked: a table for each plugin, read by case.py
real.toml          differences where the Corefiles of tests/corefiles are served and asked, as they all are besides
differences.toml   what differs on purpose, each with its reason and the words of the manual that say so
questions.py       the notation of a question, and what of two replies has to be the same
servers.py         a Corefile made to run here, and the two processes that serve it
upstream.py        what *forward* finds
side_by_side.py    the tests; no part of `make test`, as CoreDNS takes minutes to build the first time
test_tables.py     a part of `make test`: tables are whole, and manuals say what differs

A case:

    [[case]]
    name = "a file of hosts"
    corefile = '''
    . {
        hosts hosts.txt
    }
    '''
    files = {"hosts.txt" = "10.0.0.1 www.example.org"}
    asks = ["www.example.org A", "www.example.org NS ~ the-name-of-a-difference"]

Ports, addresses and places of a Corefile are mapped as tests/support/mapped.py says. What else a case may have is in case.py.
"""
