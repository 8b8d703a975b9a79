"""The settings of the services that are installed on this machine, as far as the caller may read them.

`check` and `forget` ask here where a service keeps its index, so that they do not call an index sound, or say that
there is none, while the one that is meant lies elsewhere.
"""

from dupwatchd.errors import UsageError
from dupwatchd.settings.model import SYSTEM_STATE, Settings, load
from dupwatchd.settings.sources import installed_files


def installed() -> list[Settings]:
    """The settings of the user's own service and of the system's, the latter also if it has no settings file.

    A file that is wrong is left out: the service that reads it says so when it starts.
    """
    found = []
    for file in installed_files():
        try:
            found.append(load({}, file))
        except UsageError:
            continue
    if SYSTEM_STATE not in [settings.state for settings in found]:
        found.append(load({"state": SYSTEM_STATE}))
    return found
