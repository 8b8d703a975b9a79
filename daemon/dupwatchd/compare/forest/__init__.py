"""Which of the matches are stored.

In reading order: `spanning` (minimum spanning forests), `gathering` (millions of new matches are reduced to those).
"""
