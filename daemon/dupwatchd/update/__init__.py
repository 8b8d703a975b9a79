"""The way of a change, for the scan and the service alike.

In reading order: `pipeline` (the way on one page), `survey` and `look` (watch → db: everywhere, or where a hint
points), `changes` and `offline` (what both share), `intake` (index → blocks → compare → db), `tidy`, `updater` (the
thread that does all this in the service) and `announce` (what it tells of).
"""
