"""Writes the groups of copies into one page that opens from disk, without a server and without a network.

In: a client, to ask for groups and previews. Out: an HTML file with all it needs inside: style, program, groups, and
small previews, one for a group whose files all look alike, else one a file. The browser is told to run and load
nothing that is not in it, by the digests of what is. Decisions made in it are saved from it as a plan for `dupwatch
apply`; for that the report knows what lies beside the files as well.

The file is written beside its place and moved there when it is whole.
"""

import base64
import hashlib
import html
import json
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

from dupwatch.client import Client
from dupwatch.errors import ClientError, WrongUsageError
from dupwatch.families import asks_for_sidecars
from dupwatch.replacing import check_replaceable
from dupwatch.review.bundle import bundle, static_text
from dupwatch.review.library import Group, HeldFile, Library, path_of
from dupwatch.review.pictures import NoPictureError, Previews
from dupwatch.review.report_families import ReportFamilies

PREVIEW_PX = 160
_TITLE = "<title>Copies · dupwatch</title>"
ROWS_IN_PART = 1_000
PREVIEWS_IN_PART = 500  # what the browser reads at once when a group of it comes into sight
_ALIKE = frozenset({"identical", "same"})


def write_report(client: Client, path: str, previews: Previews, advance: Callable[[int, int], None]) -> int:
    """Write the report to ``path`` and return the number of its groups; ``advance`` gets previews done and in all.

    Raises ClientError, also if the file cannot be written.
    """
    if not client.shares_paths:
        raise WrongUsageError(
            f"the photos of {client.endpoint} lie on another machine: make the report there with `dupwatch report`"
        )
    try:
        check_replaceable(path, _TITLE.encode())
    except OSError as error:
        raise ClientError(f"cannot write {path}: {error.strerror}") from None
    status = client.request("status")  # first: without a service, this says so with its own exit status
    library = Library(1)
    library.read(client)
    if library.error is not None:
        raise ClientError(library.error)
    try:
        descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(os.path.abspath(path)), prefix=".dupwatch-")
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                roots = [root["path"] for root in status["roots"]]
                _write(file, library, roots, _made(client, library, previews, advance))
                file.flush()
                os.fsync(descriptor)  # before it takes the place of an older one
            os.rename(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise ClientError(f"cannot write {path}: {error.strerror}") from None
    return len(library.groups)


def _made(
    client: Client, library: Library, previews: Previews, advance: Callable[[int, int], None]
) -> Iterator[tuple[str, str]]:
    """Yield the digest and the preview, as base64, of each content that has one."""
    wanted: dict[bytes, list[HeldFile]] = {}
    for group in library.groups.values():
        for file in group.files[:1] if group.kind in _ALIKE else group.files:
            wanted.setdefault(file.digest, library.files[file.digest])
    for done, (digest, files) in enumerate(wanted.items()):
        advance(done, len(wanted))
        try:
            picture = previews.picture(client, files, PREVIEW_PX, None)
        except NoPictureError:
            continue
        yield digest.hex(), base64.b64encode(picture.data).decode("ascii")


def _write(file: TextIO, library: Library, roots: Sequence[bytes], previews: Iterator[tuple[str, str]]) -> None:
    style, program = static_text("page.css"), bundle("report.js")
    policy = (
        f"default-src 'none'; script-src '{_hashed(program)}'; style-src '{_hashed(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
    file.write(
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{html.escape(policy)}">\n'
        '<meta name="referrer" content="no-referrer">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n{_TITLE}\n'
        f"<style>{style}</style>\n</head>\n<body>\n"
    )
    groups, families = list(library.groups.values()), _families(library, roots)
    for first in range(0, len(groups), ROWS_IN_PART):
        _write_data(file, "rows", [_row(group, families) for group in groups[first : first + ROWS_IN_PART]])
    parts: list[list[str]] = []
    part: list[str] = []
    for digest, preview in previews:
        if not parts or len(parts[-1]) == PREVIEWS_IN_PART:
            if part:
                _write_data(file, "previews", part)
            parts.append([])
            part = []
        parts[-1].append(digest)
        part.append(preview)
    if part:
        _write_data(file, "previews", part)
    head = {
        "id": secrets.token_hex(8),
        "roots": [root.decode("utf-8", "surrogateescape") for root in roots],
        "complete": not library.incomplete_because,
        "incomplete_because": library.incomplete_because,
        "asks_for_sidecars": asks_for_sidecars(library.ask_when),
        "previews": parts,
    }
    _write_data(file, "report", head)
    file.write(f'<script type="module">{program}</script>\n</body>\n</html>\n')


def _write_data(file: TextIO, name: str, value: Any) -> None:
    """Write JSON that the program reads; nothing in it can end the element that holds it."""
    text = json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
    kind = f'id="{name}"' if name == "report" else f'class="{name}"'
    file.write(f'<script type="application/json" {kind}>{text}</script>\n')


def _families(library: Library, roots: Sequence[bytes]) -> ReportFamilies:
    going: dict[bytes, bytes] = {}
    for group in library.groups.values():
        for file in json.loads(group.row)["files"]:
            if file.get("goes"):
                going[path_of(file["path"])] = path_of(file["held_by"]) if "held_by" in file else group.files[0].path
    pictures = {file.path for files in library.files.values() for file in files}
    return ReportFamilies(going, pictures, roots, asks_for_sidecars=asks_for_sidecars(library.ask_when))


def _row(group: Group, families: ReportFamilies) -> dict[str, Any]:
    """Return what the page is told of a group, and what a plan has to know of its files."""
    row: dict[str, Any] = json.loads(group.row)
    for told, file in zip(row["files"], group.files, strict=True):
        told["mtime_ns"] = str(file.mtime_ns)  # more than a number of the browser holds; so may be the others
        try:
            found = os.lstat(file.path)
        except OSError:
            continue  # it went just now; a plan that names it is refused for this file
        told["device"], told["inode"] = str(found.st_dev), str(found.st_ino)
    families.tell(row["files"])
    return row


def _hashed(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"
