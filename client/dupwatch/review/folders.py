"""Where the page keeps what is the caller's own: previews, which can be made again, and decisions, which cannot."""

import hashlib
import os
from collections.abc import Mapping


def cache_folder(environment: Mapping[str, str]) -> str:
    """Return the folder for previews."""
    return os.path.join(_base(environment, "XDG_CACHE_HOME", ".cache"), "dupwatch", "previews")


def journal_path(environment: Mapping[str, str], endpoint: str) -> str:
    """Return the file for decisions about the groups of the service at an endpoint."""
    name = hashlib.sha256(endpoint.encode()).hexdigest()[:16]
    return os.path.join(_base(environment, "XDG_STATE_HOME", ".local/state"), "dupwatch", "review", f"{name}.jsonl")


def _base(environment: Mapping[str, str], variable: str, default: str) -> str:
    named = environment.get(variable, "")
    return named if named.startswith("/") else os.path.join(os.path.expanduser("~"), default)
