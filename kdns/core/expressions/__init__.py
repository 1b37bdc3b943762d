"""Expressions about a query, as *view* and *template* have them: expr-lang's, evaluated here and never by Python.

functions.py   functions and operators
language.py    a text as a tree of functions
queries.py     what can be asked of a query
"""
