"""The modules of the page become one program."""

import re
from importlib import resources

from dupwatch.review.bundle import bundle


def test_a_program_holds_all_it_needs_once_and_nothing_is_left_over() -> None:
    programs = [bundle("review.js"), bundle("report.js")]
    for file in resources.files("dupwatch.review").joinpath("static").iterdir():
        if file.name.endswith(".js"):
            first_line = file.read_text(encoding="utf-8").splitlines()[0]
            counts = [program.count(first_line) for program in programs]
            assert max(counts) == 1, file.name
    assert not any(re.search(r"^(import|export) ", program, re.MULTILINE) for program in programs)
