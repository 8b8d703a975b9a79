"""Why a file stays or goes, step by step.

In: the group of the file, about which all is decided. Out: lines for a person.
"""

import os

from dupwatchd.serve.groups import Group
from dupwatchd.serve.plan_policy import Policy


def explained(group: Group | None, path: bytes, policy: Policy) -> list[str]:
    """The steps that decide about the file ``path``, which is in the group; None: it has no copies."""
    name = os.fsdecode(path)
    if group is None:
        return [f"{name}: no copy of it is known, so it stays"]
    place = next(place for place, copy in enumerate(group.copies) if copy.path == path)
    steps = [f"group {group.id} of {len(group.copies)} files; rules: {'; '.join(policy.in_words)}"]
    decision = group.decided.files[place]
    steps.append(f"{name}: {'goes' if decision.goes else 'stays'}: {group.reasons[place]}")
    return steps
