"""The Corefile: its text as server blocks and directives, and what their words stand for. No I/O.

values.py      zones, durations, addresses with ports
patterns.py    regular expressions
directive.py   one directive, and its arguments one by one
options.py     what a directive may say, as a table
corefile.py    text to server blocks
"""
