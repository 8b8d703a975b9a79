"""Measures that the user wrote.

In reading order: `function` (the user's code, tried and called), `measure` (what kind it is), `search` (the door), and
the three kinds: `features`, `hashes`, `distances`.
"""
