"""`--state DIR` of commands that show copies: they ask what a scan has left in DIR, where no service runs.

In: a state directory. Out: a client of a service that is started for it, looks through its folders once more, and ends
with the command.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dupwatch.output import remark

if TYPE_CHECKING:
    from dupwatch.client import Client

UP_TO_DATE_SECONDS = 60.0  # after which the answer is one that says that photos are still being read

Command = TypeVar("Command", bound=Callable[..., Any])


def state_flag(command: Command) -> Command:
    """Add ``--state`` to a command, which gets a path or None."""
    return click.option(
        "--state",
        type=click.Path(path_type=bytes),
        metavar="DIR",
        help="Of the index that a scan has left in DIR, without a service.",
    )(command)


@contextmanager
def client_for(state: bytes | None, make_client: Callable[[], "Client"]) -> Iterator["Client"]:
    """Give a client of the index in a state directory; without one, of the service that the other flags name.

    What has changed in its folders since the scan is read first, for up to UP_TO_DATE_SECONDS.

    Raises click.UsageError if both are named; else as `service_of_index` and ``make_client``.
    """
    if state is None:
        with make_client() as client:
            yield client
        return
    from dupwatch.client import Client
    from dupwatch.waiting import wait_until_idle

    with endpoint_for(state) as endpoint, Client(endpoint) as client:
        wait_until_idle(lambda: Client(endpoint), time.monotonic() + UP_TO_DATE_SECONDS, remark)
        yield client


@contextmanager
def endpoint_for(state: bytes) -> Iterator[str]:
    """Give the endpoint of a service for the index in a state directory; raises as `client_for`."""
    if click.get_current_context().find_object(dict):
        raise click.UsageError("--state starts a service of its own: it goes without --endpoint and --keys")
    from dupwatch.private_service import service_of_index

    with service_of_index(os.path.realpath(state)) as endpoint:
        yield endpoint
