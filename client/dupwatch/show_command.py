"""The command `show`: one file with its copies, or one group, as pictures side by side in the terminal.

In: a path, or the id of a group. Out: on a terminal the pictures, each with its name, size and verdict below, and then
the table with whole paths; anywhere else just the table, or JSON. Pictures are previews that the service makes of
bytes that are read here, with the rights of whoever asks.
"""

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from dupwatch.errors import RequestFailedError, WrongUsageError
from dupwatch.output import SCREEN_LINES, also_flag, question_flags, remark, remark_if_incomplete
from dupwatch.without_service import client_for, state_flag

if TYPE_CHECKING:
    from dupwatch.client import Client
    from dupwatch.graphics import Pixels, Screen
    from dupwatch.terminal import Page

PICTURES_MAX = 24  # of a group: more would scroll away; the table has them all

_COLUMNS_MIN = 24  # cells for a picture, so that its figures fit below
_LINES_MIN = 8
_LINES_BELOW = 6  # of a screen, for captions and the prompt
_GAP = 2  # cells between pictures
_PX_MIN, _PX_MAX = 16, 1024  # of `preview`, for plain pixels
_STATUS_ADVICE = "`dupwatch status` says why"
_GROUP_ID = re.compile("[0-9a-f]{1,64}")


def show_command(
    connection_flags: Callable[[click.Command], click.Command], open_client: Callable[[], "Client"]
) -> click.Command:
    """Return the command; ``connection_flags`` are those that say where ``open_client`` finds the service."""

    @click.command()
    @click.argument("target", type=click.Path(path_type=bytes, readable=False), metavar="FILE|GROUP")
    @question_flags
    @also_flag
    @state_flag
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    def show(
        target: bytes,
        measure: str | None,
        threshold: float | None,
        mirrored: bool,
        also: tuple[str, ...],
        state: bytes | None,
        as_json: bool,
    ) -> None:
        """Show a picture and its copies, or a group, side by side in the terminal.

        FILE need not be known; it is sent to the service, which opens none for you. GROUP is the id that `clusters`
        prints, or its beginning; ./GROUP is a file of that name. Where one shows a part of the other, an outline shows
        which. Terminals that speak kitty's graphics protocol show pictures, others blocks of colour. Without a terminal
        there is a table only.

        \b
        Examples:
          dupwatch show IMG_1234.heic
          dupwatch show 3f2a
          dupwatch show --also cropped 3f2a
          dupwatch show --state ~/.local/state/dupwatch 3f2a    after a scan, where no service runs
        """
        question = {"measure": measure, "threshold": threshold, "mirrored": mirrored or None}
        with client_for(state, open_client) as client:
            if b"/" in target or os.path.lexists(target) or not _GROUP_ID.fullmatch(os.fsdecode(target)):
                shown = _file(client, target, question)
            else:
                shown = _group(client, os.fsdecode(target), {**question, "also": ",".join(also) or None})
            if as_json:
                from dupwatch.json_text import write_json

                write_json(shown.document, sys.stdout)
            else:
                _show(client, shown)
        remark_if_incomplete(shown.document, _STATUS_ADVICE)
        if shown.failed:
            sys.exit(1)

    return connection_flags(show)


class _Shown(NamedTuple):
    """What was asked for."""

    document: dict[str, Any]
    files: list[Mapping[str, Any]]  # with ``path``, and for known ones ``bytes``, ``width``, ``height``, ``verdict``
    write_table: Callable[[], None]
    failed: bool = False


def _file(client: "Client", path: bytes, question: Mapping[str, Any]) -> _Shown:
    from dupwatch.asked_files import Asked, AskedFile
    from dupwatch.sending import Question, find_file
    from dupwatch.show import found_lines
    from dupwatch.terminal import page_on

    asked = Question(measure=question["measure"], threshold=question["threshold"], mirrored=question["mirrored"])
    found = find_file(client, path, asked)
    page = page_on(sys.stdout)
    if client.shares_paths:
        Asked([AskedFile(path)]).mark_in(found)
    figures = {"path": path}
    for copy in found["copies"]:
        if copy.get("itself"):
            figures |= {name: copy[name] for name in ("bytes", "width", "height")}
    files = [figures, *(copy for copy in found["copies"] if not copy.get("itself"))]
    return _Shown(found, files, lambda: page.write(found_lines(found, page)), "error" in found)


def _group(client: "Client", group_id: str, question: dict[str, Any]) -> _Shown:
    """Raises WrongUsageError if there is no such group, or several begin like that."""
    from dupwatch.pages import all_clusters, is_at_most
    from dupwatch.render import write_table

    document = all_clusters(client, question, None, 0)
    found = [cluster for cluster in document["clusters"] if str(cluster["id"]).startswith(group_id)]
    if not found:
        remark_if_incomplete(document, _STATUS_ADVICE)
        raise WrongUsageError(f"there is no file and no group {group_id}; `dupwatch clusters` lists the groups")
    if len(found) > 1:
        raise WrongUsageError(f"{len(found)} groups begin with {group_id}; give more of the id")
    at_most = is_at_most(client, found)  # of this one, whatever may be of the others
    document |= {"clusters": found, "total_clusters": 1, "also": {}, "reclaimable_at_most": at_most}
    return _Shown(document, found[0]["files"], lambda: write_table(document, sys.stdout))


def _show(client: "Client", shown: _Shown) -> None:
    from dupwatch.terminal import page_on

    page = page_on(sys.stdout)
    if shown.failed or not sys.stdout.isatty() or not page.colour or not page.signs_known:
        shown.write_table()
        return
    files = shown.files[:PICTURES_MAX]
    if not client.shares_paths:  # a path of ours may be another file there
        files = files[:1] if "verdict" not in files[0] else []
        remark("the service is on another machine: only files of this one can be shown as pictures")
    if len(shown.files) > PICTURES_MAX:
        remark(f"the first {PICTURES_MAX} of {len(shown.files)} files are shown as pictures")
    if files:
        _draw(client, files, page)
    shown.write_table()


def _draw(client: "Client", files: Sequence[Mapping[str, Any]], page: "Page") -> None:
    from dupwatch.graphics import screen_of

    screen = screen_of(sys.stdout.fileno(), os.environ)
    width = page.width or 80
    outlines = _outlines(files)
    beside = max(1, min(len(files), (width + _GAP) // (_COLUMNS_MIN + _GAP)))
    columns = (width - _GAP * (beside - 1)) // beside
    lines = max(_LINES_MIN, (os.get_terminal_size(sys.stdout.fileno()).lines or SCREEN_LINES) - _LINES_BELOW)
    for first in range(0, len(files), beside):
        row = files[first : first + beside]
        previews = [_preview(client, file["path"], columns, lines, screen) for file in row]
        pixels = [
            None if isinstance(preview, str) else _with_outlines(preview, outlines[first + number])
            for number, preview in enumerate(previews)
        ]
        captions = [list(_caption(file, preview, columns, page)) for file, preview in zip(row, previews, strict=True)]
        sys.stdout.writelines(screen.draw(pixels, columns, lines, _GAP))
        page.write([*_beside(captions, columns, page), ""])
        sys.stdout.flush()


def _outlines(files: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """For each file where others lie in it, or the first one does: four corners of each."""
    found: list[list[Any]] = [[] for _ in files]
    for number, file in enumerate(files):
        if file.get("outline") and file.get("shows_more") is not None:
            found[number if file.get("shows_more") else 0].append(file["outline"])
    return found


def _with_outlines(picture: "Pixels", outlines: Sequence[Any]) -> "Pixels":
    from dupwatch.graphics import outlined

    for corners in outlines:
        picture = outlined(picture, corners)
    return picture


def _preview(client: "Client", path: bytes, columns: int, lines: int, screen: "Screen") -> "Pixels | str":
    """Return a picture that fits into a box of so many cells, or why there is none."""
    from dupwatch.graphics import Pixels
    from dupwatch.sending import OF_THE_FILE, opened, preview_stream, suffix_of

    across, down = columns * screen.cell[0], lines * screen.cell[1]
    px = max(_PX_MIN, min(_PX_MAX, max(across, down)))
    try:
        with opened(path) as stream:
            made = preview_stream(client, stream, suffix_of(path), px, kind="rgb")
            width, height = made["preview_width"], made["preview_height"]
            if width > across or height > down:  # its shape was not known before
                px = max(_PX_MIN, int(max(width, height) * min(across / width, down / height)))
                made = preview_stream(client, stream, suffix_of(path), px, kind="rgb")
    except OSError as error:
        return error.strerror or str(error)
    except RequestFailedError as error:
        if error.code not in OF_THE_FILE:
            raise
        return str(error)
    return Pixels(made["data"], made["preview_width"], made["preview_height"])


def _caption(file: Mapping[str, Any], preview: "Pixels | str", room: int, page: "Page") -> Iterator[tuple[str, str]]:
    """Yield what stands below a picture: lines of at most ``room`` cells, each with its style."""
    from dupwatch.terminal import human_bytes

    yield page.shorten(page.name(file["path"]), room), "head"
    figures = [human_bytes(file["bytes"])] if isinstance(file.get("bytes"), int) else []
    if file.get("width") and file.get("height"):
        figures.append(page.own(f"{file['width']}×{file['height']}"))
    if figures:
        yield page.cut(page.own(" · ").join(figures), room), "quiet"
    if isinstance(preview, str):
        yield page.cut(page.name(preview), room), "trouble"
    if file.get("keep"):
        yield page.cut(f"kept: {page.name(str(file.get('reason') or ''))}", room), "keep"
    elif file.get("verdict"):
        lacks = file.get("lacks") or file.get("reason")
        yield page.cut(page.name(", ".join(filter(None, [file["verdict"], lacks]))), room), "remark"
    elif "verdict" not in file:
        yield page.cut("the file asked for", room), "keep"


def _beside(captions: Sequence[Sequence[tuple[str, str]]], columns: int, page: "Page") -> Iterator[str]:
    """Yield the lines of captions side by side."""
    from dupwatch.terminal import cell_count

    for number in range(max(map(len, captions))):
        line = ""
        for caption in captions:
            text, style = caption[number] if number < len(caption) else ("", "quiet")
            line += page.paint(text, style) + " " * (columns - cell_count(text) + _GAP)
        yield line.rstrip(" ")
