"""Measures that the user wrote.

In reading order: `function` (the user's code, found and called), `measure` (what all kinds share), `kinds` (the three
kinds, and how they are tried), and how each is searched: `features` in trees, `hashes` in a dictionary. A distance
function is called for every pair (`dense.all_pairs`). `compare.search` uses them; nothing else does.
"""
