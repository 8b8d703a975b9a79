"""The way of a change, for the scan and the service alike.

In reading order: `pipeline` (the way on one page), `survey` and `look` (watch → db: all, or where a hint points),
`changes` and `offline` (what both share), `intake` (index → blocks → compare → db), `tidy`, and `updater`, the thread
that does all this in the service.
"""
