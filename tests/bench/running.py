"""A library of small photos, scanned once, and a service that runs on it."""

import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image
from tests.bench import processes
from tests.bench.rescan import make_files, path_of

from dupwatch.client import Client
from dupwatch.errors import ClientError

_START_SECONDS = 120.0
_PER_FOLDER = 500


@dataclass(frozen=True, slots=True)
class Library:
    """A folder of photos, and the state directory of a scan of it."""

    folder: str
    state: str
    files: int
    per_folder: int | None  # None: all lie in the folder itself

    def path(self, number: int) -> str:
        """One of the photos."""
        return path_of(self.folder, number, self.per_folder)


@dataclass(frozen=True, slots=True)
class Running:
    """A service that is up and has nothing to do."""

    endpoint: str
    pid: int


def made_library(place: str, files: int, dupwatchd: str, *, one_folder: bool = False) -> Library:
    """So many distinct pictures below ``place``, scanned; one that is there already is taken as it is."""
    own = os.path.join(place, f"{files}-in-one-folder" if one_folder else f"{files}")
    per_folder = None if one_folder else _PER_FOLDER
    library = Library(os.path.join(own, "photos"), os.path.join(own, "state"), files, per_folder)
    if not os.path.exists(library.state):
        make_files(library.folder, range(files), per_folder)
    subprocess.run(
        processes.scan_command(dupwatchd, library.state, [library.folder]), check=True, stdout=subprocess.DEVNULL
    )
    return library


@contextmanager
def running(library: Library, dupwatchd: str, settle_seconds: float) -> Iterator[Running]:
    """The service on a library, once it is idle; it is stopped in the end."""
    endpoint = f"ipc://{os.path.dirname(library.state)}/query.sock"
    command = [dupwatchd, "run", "--state", library.state, "--root", library.folder, "--endpoint", endpoint]
    environment = {**os.environ, "DUPWATCH_WATCH__SETTLE_SECONDS": f"{settle_seconds}"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        _wait_until_idle(endpoint, process)
        yield Running(endpoint, process.pid)
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=30)
        if process.returncode:
            print(errors, file=sys.stderr)
    if process.returncode:
        raise SystemExit(f"the service ended with status {process.returncode}")


def write_copy(original: str, path: str, quality: int = 92) -> None:
    """Another encoding of a photo."""
    encoded = io.BytesIO()
    with Image.open(original) as picture:
        picture.save(encoded, "JPEG", quality=quality)
    with open(path, "wb") as file:
        file.write(encoded.getbuffer())


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _wait_until_idle(endpoint: str, process: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with Client(endpoint, timeout_seconds=20) as client:
                if client.request("wait", timeout=10)["idle"]:
                    return
        except ClientError:
            time.sleep(0.1)  # not there yet
    raise SystemExit("the service does not come to rest")
