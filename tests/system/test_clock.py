"""The clock of the machine jumps while the service runs: what it does is measured by a clock that does not."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import encoded, photo_like
from tests.system.service import Service

_YEAR_SECONDS = 365 * 24 * 3600
_JUMPS = {"ten years ahead": 10 * _YEAR_SECONDS, "back to before 1990": -40 * _YEAR_SECONDS, "back to now": 0}

# Loaded before the C library, it adds to the time of day, and to nothing else, what a file says.
_CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long jump(void) {
    char text[32] = "0";
    int file = open(getenv("CLOCK_JUMP_FILE"), O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        ssize_t length = read(file, text, sizeof text - 1);
        text[length > 0 ? length : 0] = 0;
        close(file);
    }
    return atol(text);
}

int clock_gettime(clockid_t which, struct timespec *told) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(which, told);
    if (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE) told->tv_sec += jump();
    return result;
}

int gettimeofday(struct timeval *told, void *zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    told->tv_sec = now.tv_sec;
    told->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *told) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (told) *told = now.tv_sec;
    return now.tv_sec;
}
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler to make a clock that jumps")
def test_a_clock_that_jumps_changes_nothing_but_the_times_that_are_told(tmp_path: Path) -> None:
    (tmp_path / "clock.c").write_text(_CLOCK)
    clock, jump = tmp_path / "clock.so", tmp_path / "jump"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", clock, tmp_path / "clock.c", "-ldl"], check=True)
    root = tmp_path / "root"
    root.mkdir()
    with Service(tmp_path / "s", root, LD_PRELOAD=str(clock), CLOCK_JUMP_FILE=str(jump)) as service:
        service.settled()
        for number, (jumped, seconds) in enumerate(_JUMPS.items()):
            jump.write_text(str(seconds))
            names = {f"{number}.jpg", f"{number} again.jpg"}
            for quality, name in zip((92, 80), sorted(names), strict=True):
                (root / name).write_bytes(encoded(photo_like(number, 160, 120), quality=quality))
            service.settled()
            assert names <= service.shown(), jumped
            assert service.ask("status")["state"] == "idle"
            assert service.ask("status")["problems"] == []
            service.ask("ignore", paths=[os.fsencode(root / name) for name in sorted(names)])
            assert not names & service.shown()
        told = sorted(one["made_at"] - time.time() for one in service.ask("ignored")["ignored"])
        assert [round(seconds / _YEAR_SECONDS) for seconds in told] == [-40, 0, 10]  # it did jump
        assert "Traceback" not in service.lines()
