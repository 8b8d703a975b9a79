"""What somebody wants of a plan: which file to keep, what never goes, what may go, and what is to be looked at first.

In: the settings `[plan]` and the argument ``policy`` of a request. Out: a `Policy`, which `keep` and `spare` go by.
Folders are compared by their real paths, name by name, and never as patterns.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from dupwatchd.errors import UsageError
from dupwatchd.model import Verdict
from dupwatchd.paths import at_or_below
from dupwatchd.serve.plan_rules import KeepRule, keep_rules
from dupwatchd.settings.model import PlanSettings

MAY_BE_ASKED_FOR = (Verdict.CROPPED, Verdict.RETOUCHED, Verdict.RECOLOURED)  # what `also` may name; never "similar"


class Pin(Enum):
    """Why a file stays whatever else there is, the strongest reason first; the value is the word that answers use."""

    REFERENCE = "reference"  # it lies in a folder that others are held against
    CHOSEN = "chosen"  # somebody has named it
    PROTECTED = "protected"  # it lies in a folder that never loses a file
    FAMILY = "family"  # it belongs to the same shot as a file that stays

    @property
    def rank(self) -> int:
        """The smaller of two is the stronger reason."""
        return list(Pin).index(self)


class Doubt(Enum):
    """What makes a group one to be looked at by a person; the value is the word in settings and requests."""

    ENLARGED = "enlarged"  # what would go has more pixels than what stays, though it is no nearer the original
    LOSS = "saved with less loss"  # so is what would go, a JPEG, though it is no further from the original
    CAPTURE_TIMES = "capture times differ"
    CONFLICT = "metadata conflict"  # both have a camera, a rating, a place or a caption, but not the same
    LACKS = "lacks metadata"  # what would go has some that what stays has not; or more bits a colour, or transparency
    BELOW_SAME = "below same"  # what would go is cropped, retouched or recoloured


# A look at the pictures proves that nothing visible is lost, but for what a JPEG loses everywhere. What it cannot see
# are the metadata. So these are what a person is asked about. An enlargement is told by the look, and lesser verdicts
# have to be asked for by name anyway.
ASKED_BY_DEFAULT = frozenset({Doubt.LOSS, Doubt.CAPTURE_TIMES, Doubt.CONFLICT, Doubt.LACKS})


@dataclass(frozen=True, slots=True)
class Policy:
    """What decides which files of a group go; without arguments: as if no setting was made."""

    rules: tuple[KeepRule, ...] = ()  # before the default order
    protect: tuple[bytes, ...] = ()  # real paths of folders
    reference: tuple[bytes, ...] = ()  # if there are any, a file goes only for one that lies in one of them
    keep_files: frozenset[bytes] = frozenset()
    also: frozenset[Verdict] = frozenset()  # beside identical and same
    ask_when: frozenset[Doubt] = ASKED_BY_DEFAULT
    bursts: bool = False  # photos of one burst may be copies of each other
    pairs: bool = False  # a RAW photo and the JPEG beside it may be copies of each other

    def pin(self, path: bytes) -> Pin | None:
        """Why this file stays, if it does so for what its path says."""
        if any(at_or_below(path, folder) for folder in self.reference):
            return Pin.REFERENCE
        if path in self.keep_files:
            return Pin.CHOSEN
        return Pin.PROTECTED if any(at_or_below(path, folder) for folder in self.protect) else None

    @property
    def pins(self) -> bool:
        """Whether it may pin any file."""
        return bool(self.keep_files or self.reference or self.protect)

    @property
    def named_folders(self) -> list[bytes]:
        """All folders that it names."""
        return [*self.protect, *self.reference, *(folder for rule in self.rules for folder in rule.folders)]

    @property
    def asked_in_words(self) -> list[str]:
        """When a person is asked, as settings and requests name it."""
        return sorted(doubt.value for doubt in self.ask_when)

    @property
    def in_words(self) -> list[str]:
        """The rules in force, for a person, in the order in which they decide."""
        said = ["sound before damaged", "most frames or pages"]
        if self.pins:
            said.append("chosen files and those in protected or reference folders")
        return [*said, *(rule.text for rule in self.rules), DEFAULT_IN_WORDS]


DEFAULT_IN_WORDS = (
    "by default: in colour; nearest to the original; the camera's data; not edited; not saved with loss before; "
    "RAW; not made smaller; better format; most pixels; most bits a colour; transparent; with a film or other data "
    "beside it; taken earliest; with place, stars, keywords, caption or people; a time of its last change; modified "
    "earliest; most bytes; a sidecar; shortest path"
)


def policy_of(settings: PlanSettings) -> Policy:
    """What the settings say; raises UsageError."""
    try:
        rules = keep_rules(settings.keep)
    except UsageError as error:
        raise UsageError(f"setting plan.keep: {error}") from None
    return Policy(
        rules,
        real_folders(tuple(map(os.fsencode, settings.protect))),
        real_folders(tuple(map(os.fsencode, settings.reference))),
        ask_when=doubts(settings.ask_when),
        bursts=settings.bursts,
        pairs=settings.pairs,
    )


def changed(policy: Policy, given: Mapping[str, Any]) -> Policy:
    """A policy with what the argument ``policy`` of a request names instead; raises UsageError."""
    return Policy(
        keep_rules(given["keep"]) if "keep" in given else policy.rules,
        real_folders(given["protect"]) if "protect" in given else policy.protect,
        real_folders(given["reference"]) if "reference" in given else policy.reference,
        real_files(given["keep_files"]) if "keep_files" in given else policy.keep_files,
        verdicts(given["also"].split(",")) if "also" in given else policy.also,
        doubts(given["ask_when"]) if "ask_when" in given else policy.ask_when,
        given.get("bursts", policy.bursts),
        given.get("pairs", policy.pairs),
    )


def verdicts(words: Collection[str]) -> frozenset[Verdict]:
    """The verdicts that may let more go; raises UsageError."""
    allowed = {verdict.value: verdict for verdict in MAY_BE_ASKED_FOR}
    for word in words:
        if word not in allowed:
            why = (
                "similar pictures are never copies" if word == Verdict.SIMILAR.value else f"{word!r} is no such verdict"
            )
            raise UsageError(f"{why}; what else may go can be {', '.join(allowed)}")
    return frozenset(allowed[word] for word in words)


def doubts(words: Collection[str]) -> frozenset[Doubt]:
    """What to ask about; raises UsageError."""
    allowed = {doubt.value: doubt for doubt in Doubt}
    for word in words:
        if word not in allowed:
            raise UsageError(f"ask_when {word!r}: allowed are {', '.join(allowed)}")
    return frozenset(allowed[word] for word in words)


def missing_folder(policy: Policy) -> bytes | None:
    """A folder that the policy names and that is not there, which is likely a mistake."""
    return next((folder for folder in policy.named_folders if not os.path.isdir(folder)), None)


def real_folders(folders: Sequence[bytes]) -> tuple[bytes, ...]:
    """Their real paths."""
    return tuple(dict.fromkeys(map(os.path.realpath, folders)))


def real_files(paths: Sequence[bytes]) -> frozenset[bytes]:
    """As the index names them: a file may itself be reached through a link to its folder."""
    return frozenset(os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path)) for path in paths)
