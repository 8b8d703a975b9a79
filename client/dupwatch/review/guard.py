"""Decides who may ask the page's server, before anything else looks at a request.

In: requests as ASGI hands them over. Out: a refusal, or the request to the application, and on every response the
headers that keep the browser from loading or sending anything elsewhere.

- Whatever comes from a process of another user of this machine is refused. Secrets alone would not do: the first
  address stands in the list of processes while the browser starts, and a browser sends a cookie of 127.0.0.1 to every
  port of it, so that the server of another user gets to see it.
- The address that is printed holds a token. It is good for one visit: the answer sets a cookie and goes on to an
  address without the token.
- Everything else needs the cookie. A page on another port of this machine has the same cookie sent along by the
  browser, so what changes something needs a token in a header as well, which only our own page knows, and the
  browser's word (``Sec-Fetch-Site``) that the request comes from our own page.
- A ``Host`` that is not ours means that some other name was made to lead here (DNS rebinding); it is refused.
"""

import hmac
import os
import secrets
import time
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CHANGE_HEADER = "x-dupwatch-token"
CONNECTIONS_KEPT = 64  # a browser opens six at once
TABLE_READINGS = 5  # of the kernel's connections, until one that is not there counts as closed
READS = frozenset({"GET", "HEAD"})
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"  # no text ever becomes HTML or a script
)
HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
# A redirect by status would not do: a browser that came from elsewhere does not send a strict cookie along with it.
ENTERED = (
    '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url=/">'
    '<link rel="icon" href="/static/mark.svg"><title>dupwatch</title>'
)


class Guard:
    """ASGI middleware that lets in one browser of one user, and nobody else."""

    def __init__(self, app: ASGIApp, port: int, user_of: Callable[[str, int, int], int | None] | None = None) -> None:
        """``user_of`` tells the user id behind a loopback address and port, None if nobody knows."""
        self.entry_token = secrets.token_urlsafe(24)
        self.change_token = secrets.token_urlsafe(24)
        self.last_used = time.monotonic()
        self._app = app
        self._port = port
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self._cookie_name = f"dupwatch-review-{port}"  # cookies do not tell ports apart
        self._session = secrets.token_urlsafe(24)
        self._user_of = user_of or user_of_connection
        self._known: dict[int, tuple[object, bool]] = {}  # by identity of a connection's address: it, and whether ours
        self._is_entered = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or hand on one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there is nothing but HTTP here
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        answer = self._refusal(scope) or self._entry(scope)
        if answer is None:
            await self._app(scope, receive, guarded)
        else:
            await answer(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        """Return why a request is refused, or None if it may go on."""
        headers = Headers(scope=scope)
        if headers.get("host", "") not in self._hosts:
            return PlainTextResponse("This page answers to 127.0.0.1 and localhost only.", 421)
        if not self._is_of_this_user(scope.get("client")):
            return PlainTextResponse("This page belongs to another user of this machine.", 403)
        if _is_entry(scope):
            return None
        if not self._has_cookie(headers):
            return PlainTextResponse(
                "This page belongs to whoever started it. Open the address that `dupwatch review` printed; "
                "it works once. Start `dupwatch review` again for a new one.",
                403,
            )
        is_page = scope["path"] == "/" and scope["method"] in READS
        site = headers.get("sec-fetch-site")
        if not is_page and site not in ("same-origin", None):
            return PlainTextResponse("Only the page itself may ask for this.", 403)
        if scope["method"] not in READS:
            given = headers.get(CHANGE_HEADER, "")
            if site != "same-origin" or not hmac.compare_digest(given.encode(), self.change_token.encode()):
                return PlainTextResponse("Only the page itself may change something.", 403)
        if scope["path"] != "/api/events":  # an open page listens for ever; that is no use
            self.last_used = time.monotonic()
        return None

    def _entry(self, scope: Scope) -> Response | None:
        """Return the answer to the first address, or None for any other."""
        if not _is_entry(scope):
            return None
        headers = Headers(scope=scope)
        if self._has_cookie(headers):  # it was opened once more, in the same browser
            return HTMLResponse(ENTERED)
        given = QueryParams(scope["query_string"]).get("token", "")
        if self._is_entered or not hmac.compare_digest(given.encode(), self.entry_token.encode()):
            return PlainTextResponse("This address was used already, or is wrong. Start `dupwatch review` again.", 403)
        self._is_entered = True
        self.last_used = time.monotonic()
        answer = HTMLResponse(ENTERED)
        answer.set_cookie(self._cookie_name, self._session, httponly=True, samesite="strict", path="/")
        return answer

    def _is_of_this_user(self, client: tuple[str, int] | None) -> bool:
        """Return whether a connection comes from a process of the user who started the page, or of root.

        It is found out once for each connection, whose requests all have one object as their address: reading the
        table takes some milliseconds. The object is kept with the answer, so that no other one can have its identity.
        """
        if client is None:
            return False
        known = self._known.get(id(client))
        if known is None:
            if len(self._known) >= CONNECTIONS_KEPT:
                del self._known[next(iter(self._known))]
            known = self._known[id(client)] = client, self._user_of(*client, self._port) in (os.getuid(), 0)
        return known[1]

    def _has_cookie(self, headers: Headers) -> bool:
        pairs = (part.strip().partition("=") for line in headers.getlist("cookie") for part in line.split(";"))
        return any(
            name == self._cookie_name and hmac.compare_digest(value.encode(), self._session.encode())
            for name, _, value in pairs
        )


def _is_entry(scope: Scope) -> bool:
    return scope["path"] == "/" and scope["method"] == "GET" and b"token=" in scope["query_string"]


def user_of_connection(host: str, port: int, server_port: int) -> int | None:
    """Return the user id of whoever has opened a connection from this IPv4 loopback address, and still has it open.

    ``server_port``: where the connection leads to on this machine; the same address may be in use for others. None if
    nobody has it open: the table gives a connection that its process has closed to root. While connections come and
    go the kernel may leave one out of the table, so it is read again before that is believed.
    """
    local = "".join(f"{int(part):02X}" for part in reversed(host.split("."))) + f":{port:04X}"
    remote = f":{server_port:04X}"
    for _ in range(TABLE_READINGS):
        with open("/proc/net/tcp", encoding="ascii") as table:
            for line in table:
                fields = line.split()
                if fields[1] == local and fields[2].endswith(remote) and fields[9] != "0":  # else no open file any more
                    return int(fields[7])
    return None
