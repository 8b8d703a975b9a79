"""Documents as JSON: in go values with paths as bytes, out comes ASCII text, which every program takes."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

Document = Mapping[str, Any]


def write_json(document: Document, stream: TextIO) -> None:
    r"""Write one JSON document in ASCII, a line per entry of a list; stray bytes of paths are ``\udcXX``."""
    encode = json.JSONEncoder(allow_nan=False, default=_json_text).encode
    between = "{"
    for key, value in document.items():
        stream.write(f"{between}{encode(key)}: ")
        between = ",\n"
        if isinstance(value, list):
            _write_json_list(map(encode, value), stream)
        else:
            stream.write(encode(value))
    stream.write("}\n" if document else "{}\n")


def write_json_rows(key: str, rows: Iterable[Any], head: Document, stream: TextIO) -> None:
    """Write one JSON document of a list that need not fit into memory, and ``head``, which may change until it ends."""
    encode = json.JSONEncoder(allow_nan=False, default=_json_text).encode
    stream.write(f"{{{encode(key)}: ")
    _write_json_list(map(encode, rows), stream)
    stream.writelines(f",\n{encode(name)}: {encode(value)}" for name, value in head.items())
    stream.write("}\n")


def json_line(document: Document) -> str:
    """Return one JSON document in ASCII, in one line without its end; paths as in `write_json`."""
    return json.dumps(document, allow_nan=False, default=_json_text)


def _json_text(value: object) -> str:
    if isinstance(value, bytes):  # UTF-8 whatever the locale: the reader's may be another
        return value.decode("utf-8", "surrogateescape")
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _write_json_list(entries: Iterable[str], stream: TextIO) -> None:
    between = "[\n"
    for entry in entries:
        stream.write(between + entry)
        between = ",\n"
    stream.write("[]" if between == "[\n" else "\n]")
