"""What a measurement has to say: shown on the terminal as it comes, and kept as Markdown."""

from collections.abc import Sequence


class Report:
    """Lines and tables, in order; everything said is printed at once."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._markdown: list[str] = [f"# {title}", ""]

    def heading(self, text: str) -> None:
        print(f"\n{text}\n{'-' * len(text)}", flush=True)
        self._markdown += [f"## {text}", ""]

    def say(self, text: str) -> None:
        print(text, flush=True)
        self._markdown += [text, ""]

    def lines(self, lines: Sequence[str]) -> None:
        """Many lines that are read one by one, a list in Markdown."""
        for line in lines:
            print(f"  {line}", flush=True)
        self._markdown += [*(f"- {line}" for line in lines), ""]

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """The first column holds names, the others numbers."""
        print(aligned(headings, rows), flush=True)
        self._markdown += [markdown(headings, rows), ""]

    def write(self, path: str | None) -> None:
        """Keep all that was said as Markdown; does nothing without a path."""
        if path is not None:
            with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write("\n".join(self._markdown).rstrip() + "\n")


def aligned(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for the terminal: names to the left, numbers to the right."""
    lines = [headings, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same table in Markdown."""
    rule = ["---", *("---:" for _ in headings[1:])]
    return "\n".join("| " + " | ".join(line) + " |" for line in [headings, rule, *rows])
