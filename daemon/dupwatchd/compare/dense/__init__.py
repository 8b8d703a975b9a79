"""All pairs, in tiles: for a GPU, and as the reference that the tree is held against.

In reading order: `matcher`, `device` (CPU or GPU; the only home of cupy).
"""
