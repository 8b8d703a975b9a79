"""pydantic-settings, imported without asyncio, which it loads but which dupwatch never runs.

pydantic-settings imports asyncio for asynchronous commands. That would take 25 of the 150 ms that a scan needs to
start. While pydantic-settings is imported, a stand-in takes the place of asyncio; it imports the real module if it is
used after all. Whoever else imports asyncio gets the real one.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


class _LoadedAtFirstUse(ModuleType):
    """Stands for a module; asking it for something imports that module."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def _loaded_at_first_use(name: str) -> Iterator[None]:
    if name in sys.modules:
        yield
        return
    stand_in = sys.modules[name] = _LoadedAtFirstUse(name)
    try:
        yield
    finally:
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]


with _loaded_at_first_use("asyncio"):
    from pydantic_settings import (
        BaseSettings,
        EnvSettingsSource,
        InitSettingsSource,
        PydanticBaseSettingsSource,
        SettingsConfigDict,
        TomlConfigSettingsSource,
    )

__all__ = [
    "BaseSettings",
    "EnvSettingsSource",
    "InitSettingsSource",
    "PydanticBaseSettingsSource",
    "SettingsConfigDict",
    "TomlConfigSettingsSource",
]
