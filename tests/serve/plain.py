"""The clusters of a library in the plainest way: everything is looked at, nothing comes from the database."""

from typing import Any

from dupwatchd.serve.clusters import Measured, Question
from tests.serve.made import File, Made


def clusters(made: Made, question: Question) -> list[dict[str, Any]]:
    """What `Library.page` has to give, without a limit."""
    present = [file for file in made.files if file.there]
    found = [_cluster(made, part, question) for part in _parts(made, present, question) if _wanted(part, question)]
    return sorted(found, key=lambda one: (-one["reclaimable_bytes"], one["id"], one["files"][0]["path"]))


def _parts(made: Made, present: list[File], question: Question) -> list[list[File]]:
    parts: list[list[File]] = []
    for file in present:
        joining = [part for part in parts if any(_joined(made, file, other, question) for other in part)]
        parts = [part for part in parts if part not in joining]
        parts.append([file, *(other for part in joining for other in part)])
    return parts


def _joined(made: Made, one: File, other: File, question: Question) -> bool:
    a, b = made.contents[one.content].picture, made.contents[other.content].picture
    if made.pictures[a].flat or made.pictures[b].flat:
        return one.content == other.content
    return a == b or _apart(made, one, other, question) <= question.threshold


def _apart(made: Made, one: File, other: File, question: Question) -> float:
    measured = _measured(made, one, other, question)
    return measured.mse if question.measure == "mse" else measured.structure


def _measured(made: Made, one: File, other: File, question: Question) -> Measured:
    a, b = made.contents[one.content].picture, made.contents[other.content].picture
    return Measured(0.0, 0.0, 0, False) if a == b else made.measured(a, b, question.measure, question.mirrored)


def _wanted(part: list[File], question: Question) -> bool:
    folders = [b"/"] if question.touching is None else question.touching
    return len(part) > 1 and any(
        file.path.startswith(folder.rstrip(b"/") + b"/") for file in part for folder in folders
    )


_REASONS = [
    ("most pixels", "fewer pixels"),
    ("most bytes", "fewer bytes"),
    ("modified earliest", "modified later"),
    ("shortest path", "longer path"),
    ("first by name", "later by name"),
]


def _cluster(made: Made, part: list[File], question: Question) -> dict[str, Any]:
    def merits(file: File) -> tuple[Any, ...]:
        content = made.contents[file.content]
        return -content.width * content.height, -content.size_bytes, file.mtime_ns, len(file.path), file.path

    def lacks(file: File) -> int:
        return next(n for n, (a, b) in enumerate(zip(merits(kept), merits(file), strict=True)) if a != b)

    kept, *others = sorted(part, key=merits)
    freed: list[File] = []
    rows = [_row(made, kept, Measured(0.0, 0.0, 0, False), _REASONS[lacks(others[0])][0], kept, [])]
    for place, file in enumerate(others):
        linked = [other for other in (kept, *others[:place]) if made.linked(other, file)]
        if _apart(made, kept, file, question) <= question.threshold and not linked:
            freed.append(file)
        reason = "hard link of the kept file" if kept in linked else _REASONS[lacks(file)][1]
        rows.append(_row(made, file, _measured(made, kept, file, question), reason, kept, linked))
    return {
        "id": min(made.contents[file.content].digest for file in part).hex()[:16],
        "reclaimable_bytes": sum(made.contents[file.content].size_bytes for file in freed),
        "files": rows,
    }


def _row(made: Made, file: File, measured: Measured, reason: str, kept: File, linked: list[File]) -> dict[str, Any]:
    content = made.contents[file.content]
    mse, structure, turn, mirrored, _ = measured
    return {
        "path": file.path,
        "bytes": content.size_bytes,
        "width": content.width,
        "height": content.height,
        "mse": mse,
        "structure": structure,
        "turn": turn,
        "mirrored": mirrored,
        "verdict": "identical" if content.digest == made.contents[kept.content].digest else None,
        "same_file_as": linked[0].path if linked else None,
        "keep": file is kept,
        "reason": reason,
    }
