"""What does a preview cost, and how many bytes has it?

    python -m tests.bench.previews FILE... [--px N N] [--runs N]

Makes previews of the files in this process, as a decode worker does, and prints the CPU time in milliseconds and the
bytes for each file, size and form. Decoding, converting, scaling and encoding count; reading and sending do not.
"""

import argparse
import os
import time
from statistics import median

from tests.bench import processes
from tests.bench.arguments import add_runs, make_parser
from tests.bench.report import Report

from dupwatchd.index.limits import DecodeLimits
from dupwatchd.index.messages import Preview, PreviewKind, PreviewWish
from dupwatchd.index.preview import make_preview
from dupwatchd.suffixes import suffix

_DEFAULT_PX = (160, 640, 2048)


def main() -> None:
    arguments = _arguments()
    report = Report("Previews")
    rows = []
    for path in arguments.files:
        with open(path, "rb") as stream:
            data = stream.read()
        for px in arguments.px:
            for kind in (PreviewKind.JPEG, PreviewKind.WEBP):
                wish = PreviewWish(px, None, kind)
                taken = [_cpu_ms(data, wish, os.fsencode(path)) for _ in range(arguments.runs)]
                name = f"{os.path.basename(path)}, {kind.value}, {px} px"
                rows.append([name, f"{median(ms for ms, _ in taken):.1f}", f"{taken[0][1]}"])
    report.say(f"{processes.cores()} cores, {arguments.runs} runs")
    report.table(["preview", "CPU ms", "bytes"], rows)
    report.write(arguments.out)


def _cpu_ms(data: bytes, wish: PreviewWish, path: bytes) -> tuple[float, int]:
    """The milliseconds that one preview takes, and its bytes."""
    began = time.process_time()
    made = make_preview(data, wish, DecodeLimits(), suffix(path))
    spent = time.process_time() - began
    assert isinstance(made, Preview)
    return 1000 * spent, len(made.data)


def _arguments() -> argparse.Namespace:
    made = make_parser(__doc__)
    made.add_argument("files", nargs="+", metavar="FILE", help="pictures of any format")
    made.add_argument(
        "--px", type=int, nargs="+", default=list(_DEFAULT_PX), metavar="N", help="longer sides [160 640 2048]"
    )
    add_runs(made, 5)
    return made.parse_args()


if __name__ == "__main__":
    main()
