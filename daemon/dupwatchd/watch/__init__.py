"""Watching: what is under the roots right now. A verb: the file system in, listings out; it stores nothing.

`walk` is the truth: whatever else may tell of changes, a full walk finds them all.
"""
