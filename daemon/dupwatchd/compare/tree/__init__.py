"""Finds the matches of a picture without comparing it with all others.

In reading order: `matcher` (candidates in, matches out), `candidates` (what all searches for candidates share),
`descriptor_candidates` (by our own measures), `vector_candidates` (by vectors, such as the user's features), `boxtree`
(the search tree).
"""
