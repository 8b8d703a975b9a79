"""The flags that commands of dupwatchd share, and the settings that follow from those that were given."""

import gc
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from dupwatchd.settings import Loaded

config_flag = click.option("--config", metavar="FILE", help="The settings file.")
json_flag = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def loaded_settings(flags: dict[str, Any], config: str | None, *, service: bool = False) -> "Loaded":
    """The settings, with those of these flags; ``service``: as the service would find them.

    The start is over with this, and rubbish is collected again, see `cli.main`. Raises UsageError.
    """
    from dupwatchd import settings
    from dupwatchd.settings import sources

    loaded = settings.load_with_origins(flags, sources.find_file(config, service=service))
    gc.enable()
    return loaded


def given(flags: dict[str, Any]) -> dict[str, Any]:
    """Without the flags that were not given, so that environment and defaults hold for them."""
    deep = {name: given(value) if isinstance(value, dict) else value for name, value in flags.items()}
    return {name: value for name, value in deep.items() if value is not None and value != {}}
