"""Compares all new pictures with all known ones: for a GPU, for distance functions, and to test the tree against.

In reading order: `all_pairs` (every pair, in stacks of pictures), `matcher` (our own measures, as matrix products),
`device` (CPU or GPU; the only home of cupy).
"""
