"""The files of the page as the browser gets them: its modules joined to one program.

A browser has six connections to one server, and each of twenty small files was an answer to wait for before a group was
on the screen.
"""

import re
from importlib import resources

# Modules say in this form only where they import from.
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([a-z]+\.js)";\n', re.MULTILINE)


def bundle(entry: str) -> str:
    """Return a module and all that it imports as one program, each module after those that it needs."""
    order: list[str] = []

    def visit(name: str) -> None:
        if name not in order:
            for needed in _IMPORT.findall(static_text(name)):
                visit(needed)
            order.append(name)

    visit(entry)
    texts = (_IMPORT.sub("", static_text(name)) for name in order)
    return "\n".join(re.sub(r"^export ", "", text, flags=re.MULTILINE) for text in texts)


def static_text(name: str) -> str:
    """Return one file of the page as it is written."""
    return resources.files("dupwatch.review").joinpath("static", name).read_text(encoding="utf-8")
