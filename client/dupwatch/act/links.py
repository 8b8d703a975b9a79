"""What a file gives up when it becomes a hard link: all names of a file have one owner, one mode and one time.

In: a plan. Out: the files whose owner or permissions would be those of the file that stays. Nothing is changed.
"""

import os

from dupwatch.act.plan_file import GoingFile, Plan


def with_other_rights(plan: Plan) -> list[GoingFile]:
    """Return the pictures of a plan that have another owner, group or mode than the file that stays for them."""
    return [going for going in plan.going if going.goes_with is None and _has_other_rights(going)]


def _has_other_rights(going: GoingFile) -> bool:
    if going.held_by is None:
        return False
    try:
        mine, kept = (os.lstat(path) for path in (going.file.path, going.held_by))
    except OSError:
        return False  # it is skipped, then
    return (mine.st_uid, mine.st_gid, mine.st_mode) != (kept.st_uid, kept.st_gid, kept.st_mode)
