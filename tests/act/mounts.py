"""File systems that tests mount for real, and take away again whatever happens."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Self

import pytest

IMAGE_BYTES = {"btrfs": 120 << 20, "xfs": 320 << 20, "ext4": 16 << 20, "ntfs": 8 << 20}
_MAKERS = {
    "btrfs": ["mkfs.btrfs", "-q"],
    "xfs": ["mkfs.xfs", "-q"],
    "ext4": ["mkfs.ext4", "-q", "-E", "nodiscard"],
    "ntfs": ["mkntfs", "-F", "-q", "-Q"],
}


# Unmounts the folders that it reads, when there are no more of them: also when the tests are killed.
_GUARD = """
import subprocess, sys
for folder in reversed(sys.stdin.buffer.read().split(b"\\0")[:-1]):
    subprocess.run(["umount", "--lazy", folder], capture_output=True)
"""


class Mounts:
    """What one test has mounted; all of it is unmounted at the end, the last first."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._images = 0
        self._programs: list[subprocess.Popen[str]] = []
        self._guard = subprocess.Popen([sys.executable, "-c", _GUARD], stdin=subprocess.PIPE, start_new_session=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._guard.communicate()
        for program in self._programs:
            program.kill()
            program.communicate()

    def mount(self, folder: Path, *arguments: object) -> Path:
        """Mount something at a folder, made if need be; skips the test where that cannot be done."""
        if not folder.exists():
            folder.mkdir(parents=True)
        done = subprocess.run(["mount", *map(str, arguments), folder], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"cannot mount here: {done.stderr.strip() or 'mount is missing'}")
        self._note(folder)
        return folder

    def bind(self, source: Path, folder: Path) -> Path:
        return self.mount(folder, "--bind", source)

    def overlay(self, folder: Path, *lower: Path, upper: Path | None = None) -> Path:
        options = "lowerdir=" + ":".join(map(str, lower))
        if upper is not None:
            work = upper.with_name(upper.name + ".work")
            for one in (upper, work):
                one.mkdir(parents=True, exist_ok=True)
            options += f",upperdir={upper},workdir={work}"
        return self.mount(folder, "-t", "overlay", "-o", options, "none")

    def tmpfs(self, folder: Path, size: str, *options: str) -> Path:
        return self.mount(folder, "-t", "tmpfs", "-o", ",".join([f"size={size}", *options]), "none")

    def image(self, kind: str) -> Path:
        """Make a file system in a file; skips the test where its program is missing."""
        maker = shutil.which(_MAKERS[kind][0], path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        if maker is None:
            pytest.skip(f"{_MAKERS[kind][0]} is missing")
        self._images += 1
        path = self._scratch / f"image{self._images}.{kind}"
        with open(path, "wb") as stream:
            stream.truncate(IMAGE_BYTES[kind])
        subprocess.run([maker, *_MAKERS[kind][1:], path], capture_output=True, check=True)
        return path

    def loop(self, folder: Path, kind: str, *options: str) -> Path:
        return self.mount(folder, "-o", ",".join(["loop", *options]), self.image(kind))

    def ntfs_ignoring_case(self, folder: Path) -> Path:
        program = shutil.which("lowntfs-3g")
        if program is None:
            pytest.skip("lowntfs-3g is missing")
        image = self.image("ntfs")
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [program, "-o", "ignore_case", image, folder], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"cannot mount NTFS here: {done.stderr.strip()}")
        self._note(folder)
        return folder

    def passthrough(self, lower: Path, folder: Path, fold: str = "none") -> Path:
        """Mount a FUSE file system that shows another folder, see `passthrough`."""
        folder.mkdir(parents=True, exist_ok=True)
        program = subprocess.Popen(
            [sys.executable, "-m", "tests.act.passthrough", lower, folder, fold],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._programs.append(program)
        assert program.stdout is not None
        if program.stdout.readline() != "mounted\n":
            pytest.skip(f"cannot mount FUSE here: {program.communicate()[1].strip()}")
        self._note(folder)
        return folder

    def detach(self, folder: Path) -> None:
        """Take a disk away while it is in use, as a cable that is pulled would."""
        subprocess.run(["umount", "--lazy", folder], check=True)

    def _note(self, folder: Path) -> None:
        assert self._guard.stdin is not None
        self._guard.stdin.write(os.fsencode(folder) + b"\0")
        self._guard.stdin.flush()
