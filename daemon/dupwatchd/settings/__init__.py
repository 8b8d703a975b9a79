"""The settings: what there is (`model`), where it comes from (`sources`), how it is shown (`printing`)."""

from dupwatchd.settings.model import (
    DEFAULT_THRESHOLDS,
    LIVE,
    Loaded,
    Reloaded,
    Settings,
    fields,
    load,
    load_with_origins,
    reload,
    values,
)

__all__ = [
    "DEFAULT_THRESHOLDS",
    "LIVE",
    "Loaded",
    "Reloaded",
    "Settings",
    "fields",
    "load",
    "load_with_origins",
    "reload",
    "values",
]
