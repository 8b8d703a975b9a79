"""Waits for a service until it is idle, also while it is being started or started anew.

In: what opens a client, until when to wait. Out: the last answer of the service to `wait`.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dupwatch.errors import ClientError, NoServiceError, NotAllowedError, RequestFailedError

if TYPE_CHECKING:
    from dupwatch.client import Client

OpenClient = Callable[[], "Client"]

WAIT_SLICE_SECONDS = 20.0  # of one request: a service that hangs is noticed soon after
RETRY_SECONDS = 0.2  # until a service that was not there, or not ready, is asked again
START_SECONDS = 15.0  # how long `wait` waits for a service that is being started


def wait_until_idle(open_client: OpenClient, deadline: float | None, say: Callable[[str], None]) -> dict[str, Any]:
    """Return the last answer to `wait`: the service is idle, or not yet at the ``deadline`` of the monotonic clock.

    A service that is not there, or goes away, is waited for, and ``say`` is told. Raises NoServiceError if it stays
    away, and RequestFailedError if it says no.
    """
    result: dict[str, Any] = {"idle": False}
    while True:
        with _client_of_present_service(open_client, deadline, say) as client:
            try:
                result = _wait_with(client, deadline)
            except NotAllowedError:
                raise
            except NoServiceError:
                time.sleep(RETRY_SECONDS)  # it has gone meanwhile
        if result["idle"] or (deadline is not None and time.monotonic() >= deadline):
            return result


def _client_of_present_service(open_client: OpenClient, deadline: float | None, say: Callable[[str], None]) -> "Client":
    """Return a client whose service answers; waits for it up to START_SECONDS, else raises NoServiceError."""
    latest = time.monotonic() + START_SECONDS
    latest = latest if deadline is None else min(latest, deadline)
    is_told = False
    while True:
        client = open_client()  # anew each time: which of the default endpoints counts depends on who listens
        try:
            client.request("version", timeout_seconds=max(latest - time.monotonic(), 1.0))
        except RequestFailedError as error:
            if not error.is_passing:
                raise
        except NotAllowedError:
            raise
        except NoServiceError:
            client.close()
            if time.monotonic() >= latest:
                raise
            if not is_told:
                seconds = latest - time.monotonic()
                say(f"no service answers at {client.endpoint} yet; waiting for it up to {seconds:.0f} s")
            is_told = True
            time.sleep(RETRY_SECONDS)
            continue
        return client


def _wait_with(client: "Client", deadline: float | None) -> dict[str, Any]:
    """Return the answer of one service to `wait` when it is idle or time is up; raises NoServiceError if it goes."""
    while True:
        left = WAIT_SLICE_SECONDS if deadline is None else deadline - time.monotonic()
        seconds = max(min(left, WAIT_SLICE_SECONDS), 0.0)
        result: dict[str, Any] = {"idle": False}
        try:
            result = client.request("wait", timeout_seconds=seconds + 10, timeout=seconds)
        except RequestFailedError as error:
            if not error.is_passing:
                raise
            time.sleep(RETRY_SECONDS)
        if not isinstance(result.get("idle"), bool):
            raise ClientError("the service does not say whether it is idle")
        if result["idle"] or (deadline is not None and time.monotonic() >= deadline):
            return result
