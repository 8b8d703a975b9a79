"""The commands that show copies as pictures: `review` serves a page to decide them, `report` writes one into a file.

In: flags. Out: a page. What only these commands need is imported when they run.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from dupwatch.output import remark
from dupwatch.terminal import counted
from dupwatch.without_service import client_for, endpoint_for, state_flag

if TYPE_CHECKING:
    from dupwatch.client import Client

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def add_look_commands(group: click.Group, connection_flags: Decorator, make_client: Callable[[], "Client"]) -> None:
    """Add the commands to ``dupwatch``; ``make_client`` makes a client as the flags of the running command say."""

    @group.command()
    @click.option(
        "--port", type=click.IntRange(1, 65535), metavar="N", help="The port to serve at [default: a free one]."
    )
    @state_flag
    @click.option("--no-browser", is_flag=True, help="Only print the address.")
    @click.option("--json", "as_json", is_flag=True, help="Print the address as JSON, and open no browser.")
    @connection_flags
    def review(port: int | None, state: bytes | None, no_browser: bool, as_json: bool) -> None:
        """Look at copies in the browser and decide what stays, with keys, side by side.

        The page is served to this machine only, by a process of yours, and shows what you may read. Its address works
        once; it ends with Ctrl-C, or after an hour without use. What you decide is kept at once; nothing is moved
        until you apply it.

        \b
        Examples:
          dupwatch review
          dupwatch review --no-browser --port 8123    over ssh -L 8123:127.0.0.1:8123
          dupwatch review --state ~/.local/state/dupwatch    after `dupwatchd scan`, where no service runs
        """
        from dupwatch.json_text import json_line
        from dupwatch.review.server import serve

        context = click.get_current_context()

        def client() -> "Client":
            with context.scope(cleanup=False):  # threads have no context of their own
                return make_client()

        def tell_address(address: str) -> None:
            click.echo(json_line({"address": address}) if as_json else address)
            remark("the address works once, in one browser; Ctrl-C ends the page, and nothing is lost")

        opens_browser = not (no_browser or as_json)
        if state is None:
            serve(client, port or 0, tell_address, opens_browser=opens_browser)
            return
        from dupwatch.client import Client

        with endpoint_for(state) as endpoint:
            name = f"index {os.fsdecode(os.path.realpath(state))}"  # the endpoint is another one each time
            serve(lambda: Client(endpoint), port or 0, tell_address, opens_browser=opens_browser, name=name)

    @group.command()
    @click.option("--html", "path", required=True, type=click.Path(), metavar="FILE", help="The file to write.")
    @state_flag
    @click.option("--json", "as_json", is_flag=True, help="Print how many groups are in it as JSON.")
    @connection_flags
    def report(path: str, state: bytes | None, as_json: bool) -> None:
        """Write all groups of copies into one page, to look at and decide without a service.

        The page holds small previews and needs no network. What is decided in it is saved from it as a plan, for
        `dupwatch apply`. Paths, and small pictures of what you may read, are in it: give it to nobody else.

        \b
        Examples:
          dupwatch report --html copies.html
          dupwatch report --html copies.html --state ~/.local/state/dupwatch    after a scan, where no service runs
        """
        import sys

        from dupwatch.json_text import json_line
        from dupwatch.progress import progress
        from dupwatch.report import write_report
        from dupwatch.review.folders import cache_folder
        from dupwatch.review.pictures import Previews

        with client_for(state, make_client) as client, progress(sys.stderr) as bars:
            bars.stage("previews")

            def advance(done: int, total: int) -> None:
                if done == 0:
                    bars.stage("previews", total, "pictures")
                bars.advance()

            count = write_report(client, path, Previews(cache_folder(os.environ)), advance)
        if as_json:
            click.echo(json_line({"path": os.fsencode(path), "groups": count}))
        remark(f"{counted(count, 'group is', 'groups are')} in {path}")
