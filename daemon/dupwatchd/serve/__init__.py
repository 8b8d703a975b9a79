"""Serving: what is known, put together as the answer to a question. A verb: reads the stores, changes nothing."""
