"""A time of day that jumps for one program alone: nobody else on the machine notices."""

import shutil
import subprocess
from pathlib import Path

import pytest

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


class JumpingClock:
    """The time of day of programs that run with `environment`; the clocks that nobody can set are left alone."""

    def __init__(self, folder: Path, seen_as: str | None = None) -> None:
        """``folder`` is made, which the programs see as another one; skips the test where that cannot be had."""
        if shutil.which("cc") is None:
            pytest.skip("no C compiler to make a clock that jumps")
        folder.mkdir()
        (folder / "clock.c").write_text(_CLOCK)
        library, self._jump = folder / "clock.so", folder / "jump"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, folder / "clock.c", "-ldl"], check=True)
        seen = Path(seen_as or folder)
        self.environment = {"LD_PRELOAD": str(seen / library.name), "CLOCK_JUMP_FILE": str(seen / self._jump.name)}

    def jump(self, seconds: int) -> None:
        """From now on it is so many seconds ahead of the machine's, or behind."""
        self._jump.write_text(str(seconds))
