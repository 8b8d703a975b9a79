"""Why a file stays or goes, as a plan has it.

In: a client, a file and a policy. Out: what the service answers to `explain`, with what only this side can see: whether
the plan holds the file back for what lies beside it or for what became of it, and what goes along.
"""

import os
from typing import TYPE_CHECKING, Any

from dupwatch.act.asking import plan_pages
from dupwatch.act.planning import make_plan
from dupwatch.families import FolderNames

if TYPE_CHECKING:
    from dupwatch.client import Client


def explained(client: "Client", path: bytes, policy: dict[str, Any]) -> dict[str, Any]:
    """Return the answer about a file; errors of the client pass through."""
    told = client.request("explain", path=path, policy=policy)
    steps = list(told["steps"])
    if not told.get("goes"):
        return told
    if not client.shares_paths:
        return {**told, "steps": [*steps, "what lies beside it is known on the machine of the service only"]}
    plan = make_plan(plan_pages(client, {"policy": policy, "files": [path, *_sharing(path)]}))
    held_back = {held.path: held.because for held in plan.held_back}
    if path in held_back:
        steps[-1] = f"it would go because {os.fsdecode(told['held_by'])} stays, but it is held back: {held_back[path]}"
        return {**told, "goes": False, "steps": steps}
    along = [os.fsdecode(one.file.path) for one in plan.going if one.goes_with == path]
    return {**told, "steps": [*steps, *(f"{one} goes along" for one in along)]}


def _sharing(path: bytes) -> list[bytes]:
    """Return the pictures that share a sidecar or movie with one: whether that goes depends on all of them."""
    folder, picture = os.path.split(path)
    try:
        names = FolderNames(os.listdir(folder))
    except OSError:
        return []
    found = {other for one in names.companions(picture) for other in names.sharing(picture, one.name)}
    return [os.path.join(folder, other) for other in sorted(found)]
