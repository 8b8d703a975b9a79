"""Compares new pictures with all known ones, exactly: thumbnails in, matches out. It stores nothing.

In reading order: `search` (the door: every match by whatever is compared with), `measures` (how far two pictures are
apart, and the few numbers that rule most pairs out), `tree` (how matches are found without comparing all with all),
`dense` (all with all, for a GPU), `custom` (measures that the user wrote), `forest` (which matches are stored).

The program uses `search`, `measures.exact`, `measures.descriptors` and `forest`; the rest serves `search` alone.
"""
