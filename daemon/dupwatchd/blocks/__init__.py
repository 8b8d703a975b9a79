"""Thumbnails and descriptors at rest: `store`, files of a fixed number of slots. It keeps, and decides nothing."""
