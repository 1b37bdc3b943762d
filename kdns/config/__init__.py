"""The Corefile: its text as server blocks and directives, and what their words stand for. No I/O.

directive.py   one directive, and the values of its arguments
corefile.py    text to server blocks
"""
