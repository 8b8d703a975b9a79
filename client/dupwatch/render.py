"""Shows the answer of `scan` and `clusters` to a program (JSON, CSV, bare paths) or to a person (a table).

In: the answer document as a dict, with every path as bytes and the kept file first in its cluster.
Out: text or bytes on a stream. Documents may be large, so everything is written cluster by cluster.

A path is written in one of three forms: as raw bytes (CSV, NUL-terminated), with surrogate escapes (JSON), or as
`terminal.printable` text (the table).

The table is laid out here and not by rich: rich takes 20 times as long for 4,000 rows (1.0 s against 0.05 s), cannot
shorten the middle of a path, and would need a second way of writing for streams that are no terminal.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple, TextIO

from dupwatch.measures import OWN_MEASURES, distance_of
from dupwatch.terminal import Page, cell_count, counted, fold, human_bytes, page_on

Document = Mapping[str, Any]
Cluster = Mapping[str, Any]
File = Mapping[str, Any]

CSV_COLUMNS = (
    "path", "bytes", "width", "height", "mse", "structure", "turn", "mirrored", "verdict", "confirmed", "same_file_as",
    "damaged", "may_go", "reason", "held_back", "undecided",
)  # fmt: skip

PAIR_COLUMNS = ("first", "second", "mse", "structure", "turn", "mirrored", "verdict", "confirmed", "cluster")

TROUBLE_ROWS = 20  # a folder of broken files must not push the clusters off the screen; --json has them all
WIDTH_BESIDE = 70  # figures take up to 42 cells; with less than 28 left beside them, the path stands above
WIDTH_IN_WORDS = 100  # a narrower terminal needs the cells for paths: remarks are single words there
INDENT = 9  # cells before a file's figures: "  spare  "


def write_csv(document: Document, stream: BinaryIO) -> None:
    """Write a header and one record per file (RFC 4180, UTF-8); the bytes of a path are kept as they are.

    A last column ``custom`` is there if the measure is the user's own.
    """
    text = io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline="")
    try:
        writer = csv.writer(text)
        columns = CSV_COLUMNS if document["measure"] in OWN_MEASURES else (*CSV_COLUMNS, "custom")
        writer.writerow(("cluster", "keep", *columns))
        for cluster in document["clusters"]:
            writer.writerows(_csv_record(cluster, file, columns) for file in cluster["files"])
    finally:
        text.detach()  # flushes, and leaves the caller's stream open


def write_paths0(document: Document, stream: BinaryIO, spare_only: bool = False) -> int:
    """Write raw paths, each with a NUL after it: all, cluster by cluster, or just those of files that may go.

    Of these, files with which a sidecar or a movie would go along are left out, because a path alone would part them:
    only `plan` lets both go or neither. Return how many were left out.
    """
    left_out = 0
    for cluster in document["clusters"]:
        wanted = [file for file in cluster["files"] if not spare_only or file.get("may_go")]
        alone = [file for file in wanted if not (spare_only and file.get("along"))]
        left_out += len(wanted) - len(alone)
        stream.writelines(file["path"] + b"\0" for file in alone)
    return left_out


def write_pairs_csv(pairs: Iterable[Mapping[str, Any]], measure: str, stream: BinaryIO) -> None:
    """Write a header and one record per pair, as `write_csv` does for files."""
    text = io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline="")
    try:
        writer = csv.writer(text)
        columns = PAIR_COLUMNS if measure in OWN_MEASURES else (*PAIR_COLUMNS, "custom")
        writer.writerow(columns)
        writer.writerows(_csv_values(pair, columns) for pair in pairs)
    finally:
        text.detach()


def write_pairs0(pairs: Iterable[Mapping[str, Any]], stream: BinaryIO) -> None:
    """Write the raw paths of each pair, each with a NUL after it."""
    stream.writelines(pair["first"] + b"\0" + pair["second"] + b"\0" for pair in pairs)


def write_pairs_table(
    pairs: Iterable[Mapping[str, Any]], document: Document, stream: TextIO, width: int | None = None
) -> None:
    """Write how far the files of each pair are apart and what they are to each other, then both paths, whole.

    Lines fit ``width`` cells, by default the terminal's; on a narrow one the paths stand below the figures.
    """
    page = page_on(stream, width)
    measure, threshold = str(document["measure"]), document["threshold"]
    decimals = 4 if threshold < 1 else 1
    count = 0
    for pair in pairs:
        count += 1
        distance = distance_of(pair, measure)
        figures = "—" if distance is None else f"{distance:.{decimals}f}"
        turned = (f"turned {pair['turn']}°" if pair["turn"] else "", "mirrored" if pair["mirrored"] else "")
        remarks = ", ".join(filter(None, (pair["verdict"] or "near only", *turned)))
        beside = page.own(f"{figures:>8}  {remarks:<12}  ")
        page.write(_pair_lines(beside, [page.name(pair[which]) for which in ("first", "second")], page))
    total = document["total_pairs"]
    shown = counted(total, "pair") if total == count else f"{count:,} of {counted(total, 'pair')}"
    summary = page.own(f"{shown}, {page.name(measure)} ≤ {threshold:g}")
    page.write(page.paint(line, "head") for line in page.words(summary))


def _pair_lines(beside: str, names: Sequence[str], page: Page) -> Iterator[str]:
    """Yield the lines of a pair: its figures, and both names."""
    if _stacked(page):
        yield page.paint(page.cut(beside.strip(" "), page.width or 0), "quiet")
        yield from (f"  {piece}" for name in names for piece in fold(name, (page.width or 0) - 2))
        return
    room = None if page.width is None else page.width - len(beside)
    (first, *others), second = (list(fold(name, room)) for name in names)
    yield page.paint(beside, "quiet") + first
    yield from (" " * len(beside) + piece for piece in [*others, *second])


def to_win(count: int, *, at_most: bool) -> str:
    """Return in words how many bytes can be won; ``at_most``: a plan may hold back some of them."""
    return f"{'at most ' if at_most else ''}{human_bytes(count)} to win"


def is_complete(document: Document) -> bool:
    """Return whether all files were read and compared when this answer was given."""
    return bool(document.get("complete", True))


def write_table(document: Document, stream: TextIO, width: int | None = None) -> None:
    """Write what a person wants to see: a block per cluster, then what could not be read, then one summary.

    Lines fit ``width`` cells, by default the terminal's. A stream that is no terminal gets the same without
    colour and without a limit: there every path is whole.
    """
    page = page_on(stream, width)
    clusters = document["clusters"]
    folder = _common_folder(file["path"] for c in clusters for file in c["files"]) if page.width else b""
    question = f"{page.name(document['measure'])} ≤ {document['threshold']:g}"
    if clusters:
        _write_clusters(document, folder, question, page)
    _write_troubles("Files not readable", document.get("failed", ()), folder, page)
    _write_troubles("Folders not readable", document.get("unreadable_folders", ()), folder, page)
    page.write(_summary(document, question, page))
    page.write(_why_held_back(document, page))
    page.write(_further_groups(document, page))
    page.write(_ignored_groups(document, page))


def write_failures(failures: Sequence[Mapping[str, Any]], page: Page) -> None:
    """Write a list of files that could not be read, all of them."""
    folder = _common_folder(failure["path"] for failure in failures) if page.width else b""
    if folder:
        page.write(page.paint(line, "quiet") for line in fold(f"in {page.name(folder)}", page.width))
    _write_troubles("Files not readable", failures, folder, page, rows=len(failures))


def _csv_record(cluster: Cluster, file: File, columns: Sequence[str]) -> Iterator[object]:
    yield cluster["id"]
    yield "true" if file["keep"] else "false"
    yield from _csv_values(file, columns)


def _csv_values(row: Mapping[str, Any], columns: Sequence[str]) -> Iterator[object]:
    for column in columns:
        value = row.get(column)
        if isinstance(value, bytes):
            yield value.decode("utf-8", "surrogateescape")
        elif isinstance(value, bool):
            yield "true" if value else "false"
        else:
            yield value  # csv writes None as nothing


def _common_folder(paths: Iterable[bytes]) -> bytes:
    """Return the deepest folder that holds all paths, with its slash, or nothing if that is /."""
    lowest = highest = None
    for path in paths:
        lowest = path if lowest is None or path < lowest else lowest
        highest = path if highest is None or path > highest else highest
    if lowest is None or highest is None:
        return b""
    # A folder that holds the first and the last in sorted order holds all between them.
    folder = lowest.rpartition(b"/")[0]
    while folder and not highest.startswith(folder + b"/"):
        folder = folder.rpartition(b"/")[0]
    return folder + b"/" if folder else b""


class _Figures(NamedTuple):
    """How sizes, pixels and verdicts of this document's files are written, one below the other."""

    measure: str
    decimals: int
    widths: tuple[int, ...]  # of the columns; 0 for one that has nothing to tell

    def of(self, file: File) -> tuple[str, str, str]:
        """Return size, pixels and what it is to the kept file, which has no verdict itself.

        Of a file that nobody has looked at beside the kept one the distance must do. A measure of the user's own joins
        by its value alone, which is shown then.
        """
        size, pixels = human_bytes(file["bytes"]), f"{file['width']}×{file['height']}"
        if file["keep"]:
            return size, pixels, ""
        distance = distance_of(file, self.measure)
        if file.get("verdict") is not None and (self.measure in OWN_MEASURES or file["verdict"] == "identical"):
            return size, pixels, str(file["verdict"])
        return size, pixels, "—" if distance is None else f"{distance:.{self.decimals}f}"

    def aligned(self, figures: Iterable[str]) -> str:
        return "".join(f"{text:>{width}}  " for text, width in zip(figures, self.widths, strict=True) if width)


_HEADINGS = ("size", "pixels", "verdict")


def _figures(document: Document) -> _Figures:
    decimals = 4 if document["threshold"] < 1 else 1  # structure goes up to 4, mse up to 65025
    figures = _Figures(str(document["measure"]), decimals, (0, 0, 0))
    widths = [0, 0, 0]
    for cluster in document["clusters"]:
        for file in cluster["files"]:
            widths = [max(width, len(text)) for width, text in zip(widths, figures.of(file), strict=True)]
    widths = [max(width, len(text)) if width else 0 for width, text in zip(widths, _HEADINGS, strict=True)]
    return figures._replace(widths=tuple(widths))


def _write_clusters(document: Document, folder: bytes, question: str, page: Page) -> None:
    figures = _figures(document)
    page.write(page.join([page.own(f"Copies, {question}"), *([f"in {page.name(folder)}"] if folder else [])]))
    headings = "" if _stacked(page) else page.paint(f"{' ' * INDENT}{figures.aligned(_HEADINGS)}file", "quiet")
    page.write(["", headings] if headings else [""])
    for cluster in document["clusters"]:
        page.write([*_cluster_lines(cluster, len(folder), figures, page), ""])


def _cluster_lines(cluster: Cluster, skip: int, figures: _Figures, page: Page) -> Iterator[str]:
    """Yield what is said of a cluster; ``skip`` is how much of every path has been said before."""
    files = cluster["files"]
    head = [
        f"group {page.name(str(cluster['id']))[:16]}",
        counted(len(files), "file"),
        to_win(cluster["reclaimable_bytes"], at_most=any(file.get("undecided") for file in files)),
        *(f"kept: {page.name(file['reason'])}" for file in files if file["keep"] and file.get("reason")),
    ]
    yield from (page.paint(line, "head") for line in page.join(head))
    marks = [_mark(file) for file in files]
    remarks = [page.own(_remark(file, files[0], mark, page)) for file, mark in zip(files, marks, strict=True)]
    rooms = [_path_room(figures, remark, page) for remark in remarks]
    names = [page.name(file["path"][skip:]) for file in files]
    if any(room is not None and cell_count(name) > room for name, room in zip(names, rooms, strict=True)):
        # What they have in common is said once, or the part in which they differ might be the one cut away.
        inner = _common_folder(file["path"][skip:] for file in files)
        if inner:
            yield from (page.paint(line, "quiet") for line in fold(f"  in {page.name(inner)}", page.width))
            names = [page.name(file["path"][skip + len(inner) :]) for file in files]
        short = [page.shorten(name, room or 0) for name, room in zip(names, rooms, strict=True)]
        if len(set(short)) == len(set(names)):  # else two would look the same: leave them whole
            names = short
    for file, mark, name, room, remark in zip(files, marks, names, rooms, remarks, strict=True):
        yield from _file_lines(file, mark, list(fold(name, room)), remark, figures, page)


_HELD_BACK, _UNDECIDED = "held back", "a plan decides"
_MARK_STYLES = {"keep": "keep", "spare": "spare", "link": "quiet", "other": "quiet"}


def _mark(file: File) -> str:
    """Return what a file is, in one word.

    keep   stays
    spare  may go
    link   is another name (a hard link, a second mount) of a file above, or may be one
    other  stays as well: nothing that stays is certain to show all that it shows, or hold all that lies beside it
    """
    if file["keep"]:
        return "keep"
    if file.get("same_file_as") is not None and not file.get("may_go"):
        return "link"
    return "spare" if file.get("may_go") else "other"


def _remark(file: File, kept: File, mark: str, page: Page) -> str:
    """Return in words what the figures of a file mean, compared with the kept file."""
    marks = ["damaged"] if file.get("damaged") else []
    marks += ["removed before"] if file.get("returned") else []
    if mark == "keep":
        return ", ".join(marks)
    if file.get("same_file_as") is not None:
        return page.name(str(file["reason"]))
    verdict = file.get("verdict")
    remarks = [] if verdict == "identical" else [_compared_in_pixels(file, kept)]
    remarks += [f"turned {file['turn']}°"] if file["turn"] else []
    remarks += ["mirrored"] if file["mirrored"] else []
    beside = _what_lies_beside(file, page)
    if beside:
        remarks.insert(0, beside)
    elif verdict is None:
        remarks.insert(0, "near another copy only")
    elif mark == "other" and (page.width is None or page.width >= WIDTH_IN_WORDS):
        remarks.insert(0, _why_it_stays(file))
    return ", ".join(filter(None, [*marks, *remarks]))


def _what_lies_beside(file: File, page: Page) -> str:
    """Return what a plan does with a spare file for what lies beside it; on a terminal in short: paths need room."""
    held_back, undecided = file.get("held_back"), file.get("undecided")
    if page.width is not None:
        return _HELD_BACK if held_back else _UNDECIDED if undecided else ""
    return f"{_HELD_BACK}: {page.name(held_back)}" if held_back else page.name(undecided or "")


def _why_it_stays(file: File) -> str:
    """Return why a copy of the kept file may not go; nothing if its verdict says so."""
    if file["verdict"] == "same" and file.get("confirmed") is not True:
        return "not certain"
    return ""


def _compared_in_pixels(file: File, kept: File) -> str:
    pixels, kept_pixels = (one["width"] * one["height"] for one in (file, kept))
    return "smaller" if pixels < kept_pixels else "larger" if pixels > kept_pixels else ""


def _path_room(figures: _Figures, remark: str, page: Page) -> int | None:
    """Return the cells left for a path, between its figures and what is remarked after it."""
    if page.width is None:
        return None
    room = page.width - INDENT
    return room if _stacked(page) else room - len(figures.aligned(("", "", ""))) - (len(remark) + 2) * bool(remark)


def _stacked(page: Page) -> bool:
    """Return whether the page is too narrow for a path beside its figures."""
    return page.width is not None and page.width < WIDTH_BESIDE


def _file_lines(file: File, mark: str, name: list[str], remark: str, figures: _Figures, page: Page) -> Iterator[str]:
    """Yield a file's lines; its name comes in pieces that fit."""
    known = [page.own(text) for text in figures.of(file)]
    painted = page.paint(f"{mark:<5}", _MARK_STYLES[mark])
    if _stacked(page):
        below = [("  ".join(filter(None, known)), "quiet"), (remark, "remark")]
        yield f"  {painted}  {name[0]}"
        yield from (" " * INDENT + piece for piece in name[1:])
        yield from (" " * INDENT + page.paint(text, style) for text, style in below if text)
    else:
        beside = figures.aligned(known)
        after = f"  {page.paint(remark, 'remark')}" if remark else ""
        yield f"  {painted}  {page.paint(beside, 'quiet')}{name[0]}{after}"
        yield from (" " * (INDENT + len(beside)) + piece for piece in name[1:])


def _write_troubles(
    title: str, troubles: Sequence[Mapping[str, Any]], folder: bytes, page: Page, rows: int = TROUBLE_ROWS
) -> None:
    if not troubles:
        return
    shown = [
        (page.name(trouble["error"]), page.name(trouble["path"].removeprefix(folder))) for trouble in troubles[:rows]
    ]
    page.write([page.paint(f"{title}: {len(troubles):,}", "head")])
    if _stacked(page):
        room = (page.width or 0) - 4
        for error, name in shown:
            page.write([f"  {page.shorten(name, room + 2)}", f"    {page.paint(page.cut(error, room), 'trouble')}"])
    else:
        error_cells = max(cell_count(error) for error, _ in shown)
        if page.width is not None:
            error_cells = min(error_cells, page.width // 2 - 4)
        for error, name in shown:
            cause = page.cut(error, error_cells)
            gap = " " * (error_cells - cell_count(cause) + 2)
            path = page.shorten(name, (page.width or 0) - error_cells - 4)
            page.write([f"  {page.paint(cause, 'trouble')}{gap}{path}"])
    if len(troubles) > len(shown):
        page.write([page.own(f"  … and {len(troubles) - len(shown):,} more: see --json")])
    page.write([""])


def _summary(document: Document, question: str, page: Page) -> list[str]:
    clusters = document["clusters"]
    total = document.get("total_clusters", len(clusters))
    if clusters:
        spare = sum(bool(file.get("may_go")) for cluster in clusters for file in cluster["files"])
        reclaimable = sum(cluster["reclaimable_bytes"] for cluster in clusters)
        shown = counted(total, "group")
        parts = [
            shown if total == len(clusters) else f"{len(clusters):,} of {shown}",
            counted(spare, "spare file"),
            to_win(reclaimable, at_most=bool(document.get("reclaimable_at_most"))),
        ]
        held_back = _count(document, "held_back")
        parts += [f"{held_back:,} {_HELD_BACK}"] if held_back else []
    else:
        none = "No copies" if is_complete(document) else "No copies found so far"
        parts = [page.own(f"None of {counted(total, 'group')} shown" if total else f"{none}, {question}")]
    for key, noun in (("failed", "file"), ("unreadable_folders", "folder")):
        if troubles := document.get(key):
            parts.append(f"{counted(len(troubles), noun)} not readable")
    if not is_complete(document):
        pending = document.get("pending")
        parts.append(f"not complete yet: {pending:,} pending" if pending else "not complete")
    return [page.paint(line, "head") for line in page.join(parts)]


def _count(document: Document, key: str) -> int:
    """Return how many files of the clusters have a value for a key."""
    return sum(bool(file.get(key)) for cluster in document["clusters"] for file in cluster["files"])


def _why_held_back(document: Document, page: Page) -> list[str]:
    """Return what is meant by the short remarks about what lies beside files; where there is room, they say it."""
    beside = "its sidecar, voice memo or movie would be lost"
    meant = {
        "held_back": f"{_HELD_BACK}: {beside}, or cannot go along (see --json)",
        "undecided": f"{_UNDECIDED}: names and sizes do not tell whether {beside}",
    }
    told = [words for key, words in meant.items() if page.width is not None and _count(document, key)]
    lines = [line for words in told for line in page.words(words, indent=2)]
    return [page.paint(line, "quiet") for line in lines]


def _further_groups(document: Document, page: Page) -> list[str]:
    """Return what there would be beyond these groups, and how to see it, if there is anything."""
    also = {str(verdict): number for verdict, number in document.get("also", {}).items() if number}
    if not also:
        return []
    counts = ", ".join(f"{number:,} {page.name(verdict)}" for verdict, number in also.items())
    asked = [verdict for verdict in document.get("verdicts", ()) if verdict not in ("identical", "same")]
    line = f"further groups: {counts} (--also {','.join(map(page.name, [*asked, *also]))})"
    return [page.paint(part, "quiet") for part in fold(line, page.width)]


def _ignored_groups(document: Document, page: Page) -> list[str]:
    """Return how many groups are not shown because somebody said that they are no duplicates, if there are any."""
    number = document.get("ignored_groups", 0)
    line = f"{counted(number, 'group')} not shown: not duplicates (dupwatch ignored)"
    return [page.paint(part, "quiet") for part in fold(line, page.width)] if number else []
