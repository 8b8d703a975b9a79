"""Pictures made from nothing, for all tests."""

import atexit
import functools
import gc
import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile

import hypothesis
import hypothesis.internal.conjecture.providers as hypothesis_providers
import numpy as np
import pytest
from hypothesis.internal.constants_ast import Constants
from numpy.typing import NDArray
from PIL import Image

pytest_plugins = ["tests.quick_decoders"]

Rgb = NDArray[np.uint8]

# Put before a command, this lets it read only what the rights of a file allow, also if root runs the tests.
WITH_PLAIN_RIGHTS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []

# Nothing of whoever runs the tests is read or changed: the programs under test keep their state here.
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="dupwatch-state-")
atexit.register(shutil.rmtree, os.environ["XDG_STATE_HOME"], ignore_errors=True)

# The programs under test start as installed ones do: what was compiled once is read by the hundreds that follow.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# How long an example takes says nothing on a busy machine; a test as a whole has its limit. Each run draws the same
# examples, so that a test fails for what was changed; `--hypothesis-profile=random` looks for what nobody has met yet.
hypothesis.settings.register_profile("random", deadline=None)
hypothesis.settings.register_profile("same", deadline=None, derandomize=True)
hypothesis.settings.load_profile("same")
# Nor does it depend on what else one process has tested: Hypothesis also draws numbers that stand in modules of the
# project, those that are imported by then. It has no setting for this.
assert hasattr(hypothesis_providers, "_get_local_constants")
hypothesis_providers._get_local_constants = Constants

# A shell makes what it starts in the background ignore SIGINT, and that is inherited by the programs under test, which
# are to be interrupted with it.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """What all workers of `-n` would compile at once at a clean checkout is compiled before they start."""
    if getattr(config.option, "dist", "no") != "no" and not hasattr(config, "workerinput"):
        subprocess.run([sys.executable, "-c", "import dupwatchd.compare.tree.boxtree, dupwatchd.compare.parts.trees"])


def pytest_collection_finish() -> None:
    """At its end pytest collects garbage ten times over; among what was imported there is none to be found."""
    gc.freeze()


def photo_like(seed: int, width: int = 400, height: int = 300) -> Rgb:
    """A (height, width, 3) uint8 picture with broad shapes and fine detail; another one for every seed."""
    return _photo_like(seed, width, height).copy()


@functools.lru_cache(maxsize=32)  # tests of one file ask for the same few again and again
def _photo_like(seed: int, width: int, height: int) -> Rgb:
    random = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3))
    for cells, strength in ((3, 90), (6, 60), (12, 40), (40, 20)):
        coarse = random.uniform(-strength, strength, (cells, cells, 3)).astype(np.float32)
        channels = [
            np.asarray(Image.fromarray(coarse[..., channel]).resize((width, height), Image.Resampling.BICUBIC))
            for channel in range(3)
        ]
        picture += np.stack(channels, axis=-1)
    return np.clip(picture + 128, 0, 255).astype(np.uint8)


def encoded(picture: Rgb, kind: str = "JPEG", **options: object) -> bytes:
    """The picture as the bytes of a file."""
    if kind == "JPEG":
        options.setdefault("quality", 92)
    elif kind == "PNG":
        options.setdefault("compress_level", 2)  # a quarter of the time that Pillow's own default takes
    key = (hashlib.sha1(picture.tobytes()).digest(), picture.shape, picture.dtype.str, kind, repr(options))
    is_told_by_key = all(isinstance(value, str | bytes | int | float) for value in options.values())
    if is_told_by_key and key in _encoded:
        return _encoded[key]
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind, **options)
    if is_told_by_key and len(buffer.getvalue()) < 1 << 20:
        if len(_encoded) >= _ENCODED_KEPT:
            del _encoded[next(iter(_encoded))]
        _encoded[key] = buffer.getvalue()
    return buffer.getvalue()


_ENCODED_KEPT = 100  # fixtures write the same few files for each test of a module
_encoded: dict[tuple[object, ...], bytes] = {}


@pytest.fixture(scope="session")
def make_photo() -> object:
    """`photo_like`, for tests that prefer a fixture."""
    return photo_like
