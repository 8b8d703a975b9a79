"""Shows to people what the service says about itself, about single files, and what happens, line by line.

In: results as in PROTOCOL.md, with paths as bytes. Out: lines for a `Page`. A figure that the service did not send is
left out: another version may send more or fewer. Clusters are shown by `render`.
"""

import time
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from dupwatch.measures import distance_of
from dupwatch.terminal import Page, counted, human_bytes

Result = Mapping[str, Any]

_HANGING = 4  # cells before what goes on from the line above

_COUNTS = {
    "files": ("file", "files"), "pictures": ("picture", "pictures"), "matches": ("match", "matches"),
    "failed": ("failed", "failed"), "pending": ("pending", "pending"),
}  # fmt: skip


def status_lines(status: Result, page: Page) -> Iterator[str]:
    """Yield the state of the service, what it is at, its roots, and what is wrong."""
    parts = [page.name(str(status.get("state", "?")))]
    parts += [counted(status[name], *nouns) for name, nouns in _COUNTS.items() if isinstance(status.get(name), int)]
    yield from (page.paint(line, "head") for line in page.join(parts))
    progress = status.get("progress")
    if isinstance(progress, Mapping):
        yield from page.join(progress_parts(progress, page))
    left = close_looks_left(status)
    yield from [] if left is None else page.words(left, indent=_HANGING)
    for root in status.get("roots", ()):
        state = page.name(str(root["state"]))
        room = (page.width or 0) - 11
        style = "quiet" if state == "online" else "trouble"
        yield f"  {page.paint(f'{state:<8}', style)} {page.shorten(page.name(root['path']), room)}"
    cluster = status.get("cluster")
    if isinstance(cluster, Mapping):
        yield from _cluster_lines(cluster, page)
    held = status.get("quarantine")
    if isinstance(held, Mapping) and held["files"]:
        size = human_bytes(held["bytes"])
        told = f"  {counted(held['files'], 'file')} in quarantine, {size}: `dupwatch quarantine list`"
        yield from page.words(told, indent=_HANGING)
    for problem in status.get("problems", ()):
        yield from (page.paint(line, "trouble") for line in page.words(f"! {page.name(problem)}", indent=_HANGING))


def close_looks_left(status: Result) -> str | None:
    """Return in words how many pairs are still to be looked at closely; None if there are none."""
    pairs = status.get("to_confirm")
    if not isinstance(pairs, int) or pairs < 1:
        return None
    which = "1 pair that seems" if pairs == 1 else f"{pairs:,} pairs that seem"
    return f"{which} the same still to be looked at closely: until then their files stay"


def _cluster_lines(cluster: Result, page: Page) -> Iterator[str]:
    """Yield how it is with the machines that read photos, and the share of each."""
    yield from page.join(["  cluster", *page.name(str(cluster["line"])).split("; ")], indent=_HANGING)
    machines = cluster["machines"]
    for machine in machines:
        state = page.name(str(machine["state"]))
        style = "quiet" if state == "reading" else "trouble"
        share = counted(machine["files"], "file")
        room = (page.width or 0) - 4 - 9 - 2 - len(share)
        yield f"    {page.paint(f'{state:<8}', style)} {page.shorten(page.name(machine['name']), room)}: {share}"
    if len(machines) < cluster["total_machines"]:
        yield f"    and {counted(cluster['total_machines'] - len(machines), 'further machine')}"
    if cluster["files_here"]:
        yield f"    {counted(cluster['files_here'], 'file')} read on this machine"


def human_seconds(seconds: float) -> str:
    """Return a time that is left, in its two largest units: ``45 s``, ``3 min 5 s``, ``2 h 10 min``."""
    whole = max(round(seconds), 0)
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    for (name, size), (next_name, next_size) in pairwise(units):
        if whole >= size:
            rest = whole % size // next_size
            return f"{whole // size} {name}" + (f" {rest} {next_name}" if rest else "")
    return f"{whole} s"


def found_lines(found: Result, page: Page) -> Iterator[str]:
    """Yield what is known of one file that was asked for.

    ``found`` has ``path``, and either ``error``, the reason why it could not be looked for, or ``copies``.
    """
    copies = found.get("copies", ())
    name = page.name(found["path"])
    if "error" in found:
        yield from page.said_of(name, page.name(found["error"]), "trouble", indent=_HANGING)
    elif not copies:
        said = "not known" if found.get("complete", True) else "not known so far"
        yield from page.said_of(name, said, "quiet", indent=_HANGING)
    else:
        as_good = any(copy.get("as_good") for copy in copies)
        none = ", none but what is asked for" if any(copy.get("asked_for") for copy in copies) else ", none as good"
        how_many = f"{len(copies):,} known{'' if as_good else none}"
        head = page.join([f"{name}:", how_many], indent=_HANGING, between=" ")
        yield from (page.paint(line, "head") for line in head)
        for copy in copies:
            yield from page.join([f"  {page.name(copy['path'])}", *_figures(copy, found, page)], indent=_HANGING)


def event_line(topic: str, at: float, fields: Result, page: Page) -> str:
    """Return one event as a line; it is not cut, for it may go to a file."""
    clock = time.strftime("%H:%M:%S", time.localtime(at))
    path = page.name(fields.get("path", b""))
    if topic == "moved":
        path = f"{page.name(fields.get('from', b''))} -> {path}"
    elif topic == "matched":
        values = [page.name(str(fields["verdict"]))] if fields.get("verdict") else []
        values += [f"{name} {fields[name]:g}" for name in ("structure", "mse") if fields.get(name) is not None]
        path = f"{path} = {page.name(fields.get('other', b''))}  {' '.join(values)}"
    elif topic == "failed":
        path = f"{path}: {page.name(str(fields.get('error', '')))}"
    return f"{page.paint(clock, 'quiet')}  {page.name(topic):<8} {path}"


def progress_parts(progress: Result, page: Page) -> Iterator[str]:
    """Yield how far a stage of the service's work is: ``progress`` of the result of `status`, in words."""
    done, total = progress.get("done", 0), progress.get("total")
    unit = page.name(str(progress.get("unit", "files")))
    stage = page.name(str(progress.get("stage", "working")))
    if total:
        yield f"{stage} {done:,}/{total:,} {unit} ({100 * done // total} %)"
    else:
        yield f"{stage} {done:,} {unit}"
    if progress.get("rate"):
        yield f"{progress['rate']:,.1f} {unit}/s" if progress["rate"] < 10 else f"{progress['rate']:,.0f} {unit}/s"
    if progress.get("seconds_left") is not None:
        yield f"{human_seconds(progress['seconds_left'])} left"


def _figures(copy: Result, found: Result, page: Page) -> Iterator[str]:
    if isinstance(copy.get("bytes"), int):
        yield human_bytes(copy["bytes"])
    if copy.get("width") and copy.get("height"):
        yield page.own(f"{copy['width']}×{copy['height']}")
    measure = str(found.get("measure", "structure"))
    verdict = copy.get("verdict")
    if verdict == "identical":
        yield "identical (equal bytes)"
    elif (distance := distance_of(copy, measure)) is not None:
        value = f"{distance:.4f}" if distance < 1 else f"{distance:.1f}"
        yield f"{page.name(str(verdict or 'not looked at'))} ({page.name(measure)} {value})"
    if copy.get("asked_for"):
        may_be = "may be " if copy.get("unsure") else ""
        yield f"{may_be}this file itself" if copy.get("itself") else f"{may_be}asked for as well"
    if copy.get("lacks"):
        yield page.name(str(copy["lacks"]))
    elif verdict == "same" and not copy.get("asked_for") and not copy.get("as_good"):
        yield "not certain"
    if copy.get("turn"):
        yield page.own(f"turned {copy['turn']}°")
    if copy.get("mirrored"):
        yield "mirrored"
