"""What the documents say is what the program does."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from dupwatch.cli import DAEMON_COMMANDS
from dupwatch.cli import cli as client_cli
from dupwatchd.cli import CLIENT_COMMANDS, cli
from dupwatchd.settings import Settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def settings_by_name() -> dict[str, object]:
    values = Settings(state="/nowhere").model_dump()
    return {
        f"{section}.{name}" if isinstance(fields, dict) else section: value
        for section, fields in values.items()
        for name, value in (fields.items() if isinstance(fields, dict) else [("", fields)])
    }


def test_every_setting_and_its_default_are_in_the_readme() -> None:
    rows = {name: text.strip() for name, text in re.findall(r"^\| `([a-z_.]+)` \|([^|]*)\|", README, re.MULTILINE)}
    values = settings_by_name()
    assert set(rows) == set(values)
    for name, value in values.items():
        if isinstance(value, bool):
            assert rows[name] == str(value).lower(), name
        elif isinstance(value, int | float) and value:
            assert float(rows[name]) == value, name


def commands_in_the_readme() -> list[str]:
    return re.findall(r"^dupwatchd .*$", README, re.MULTILINE)


@pytest.mark.parametrize("line", commands_in_the_readme())
def test_every_command_in_the_readme_is_understood(line: str) -> None:
    words = re.sub(r"[#|].*", "", line).replace("'", "").split()[1:]
    understood(cli, words)


def test_every_command_is_in_the_readme_and_teaches_by_example() -> None:
    for name, command in cli.commands.items():
        assert "Examples:" in (command.help or ""), name
        if name == "completion":  # its help says it all, and it prints what only a shell reads
            continue
        assert any(line.startswith(f"dupwatchd {name}") for line in commands_in_the_readme()), name
        if name == "cluster":  # a group of commands, of which only the last prints an answer
            continue
        has_json = any("--json" in option.opts for option in command.params if isinstance(option, click.Option))
        assert has_json or name == "run", name  # which prints no answer


@pytest.mark.parametrize(
    ("program", "words", "wanted"), [("dupwatchd", "scan --lim", "--limit"), ("dupwatch", "clusters --spa", "--spare")]
)
def test_both_programs_complete_commands_and_flags(program: str, words: str, wanted: str) -> None:
    code = f"import sys; sys.argv[0] = {program!r}; from {program}.cli import main; main()"
    for line, expected in ((f"{program} comp", "completion"), (f"{program} {words}", wanted)):
        number = str(line.count(" "))
        asked = {f"_{program.upper()}_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": number}
        done = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, **asked}, capture_output=True, check=True
        )
        assert expected in done.stdout.decode()
        assert done.stderr == b""
    printed = subprocess.run([sys.executable, "-c", code, "completion", "bash"], capture_output=True, check=True)
    assert f"_{program.upper()}_COMPLETE".encode() in printed.stdout


def test_each_program_knows_the_commands_of_the_other() -> None:
    assert set(CLIENT_COMMANDS) == set(client_cli.commands)
    assert set(DAEMON_COMMANDS) == set(cli.commands)


def _commands_below(group: click.Group) -> list[click.Command]:
    below = list(group.commands.values())
    return [*below, *(one for inner in below if isinstance(inner, click.Group) for one in _commands_below(inner))]


def understood(group: click.Group, words: list[str]) -> None:
    """Raises click.UsageError for what a command, or a command of a group, does not know."""
    command = group.commands[words[0]]
    if isinstance(command, click.Group) and words[1:]:
        understood(command, words[1:])
    else:
        command.make_context(words[0], words[1:])


def examples() -> list[tuple[click.Group, str]]:
    """Each line of an example in the help of a command that calls one of our programs."""
    return [
        (group, line)
        for group in (cli, client_cli)
        for command in [group, *_commands_below(group)]
        for line in re.findall(rf"^ *({group.name} .*?)(?:  .*)?$", command.help or "", re.MULTILINE)
    ]


@pytest.mark.parametrize(("group", "line"), examples())
def test_every_example_in_the_help_is_understood(group: click.Group, line: str) -> None:
    words = shlex.split(re.split(r" [|>&]| >", line)[0])[1:]
    understood(group, words)


def test_modules_named_in_the_architecture_are_there() -> None:
    text = (ROOT / "daemon" / "ARCHITECTURE.md").read_text()
    for name in re.findall(r"`([a-z_/]+\.py)`", text):
        assert list((ROOT / "daemon" / "dupwatchd").rglob(Path(name).name)), name


def test_each_fault_is_tried_by_tests_that_are_there() -> None:
    text = (ROOT / "docs" / "faults.md").read_text()
    named = re.findall(r"`(tests/[a-z_/]+\.py)::(test_[a-z0-9_]+)`", text)
    assert len(named) > 100
    for file, test in named:
        assert f"def {test}(" in (ROOT / file).read_text(), f"{file}::{test}"
    numbers = [int(number) for number in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)]
    assert numbers == list(range(1, 26))
