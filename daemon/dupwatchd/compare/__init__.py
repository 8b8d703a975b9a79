"""Comparing: new pictures against all known ones, exactly. A verb: thumbnails in, matches out; it stores nothing.

`measures` says what the values are, in integer arithmetic; `descriptors` are few numbers per picture that rule out
most pairs for certain; `matcher` puts both to work.
"""
