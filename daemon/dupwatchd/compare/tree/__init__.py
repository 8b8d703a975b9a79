"""The index over descriptors: all matches without looking at all pairs.

In reading order: `matcher` (the door), `candidates` (who may match), `boxtree` (the tree that finds them).
"""
