"""Watching: what is under the roots right now. A verb: the file system in, listings and hints out; it stores nothing.

`walk` is the truth: whatever else may tell of changes, a full walk finds them all. `watcher` keeps the roots under
watch, `inotify` turns the kernel's events into hints, and `hints` says where a look is worth while by now.
"""
