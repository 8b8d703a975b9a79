"""What the page can ask its server for.

In: requests that `guard` has let through. Out: the files of the page, groups, pictures, events; and what changes
something: decisions. Whatever takes long, or asks the service, runs in a thread.
"""

import contextlib
import json
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from dupwatch.client import Client
from dupwatch.errors import ClientError
from dupwatch.review.acting import Acting
from dupwatch.review.asking import Asking
from dupwatch.review.bundle import bundle, static_text
from dupwatch.review.decisions import Decision, Decisions, WrongDecisionError, tell, tell_back
from dupwatch.review.library import Group, HeldFile, Library, text_of
from dupwatch.review.news import Listening, News
from dupwatch.review.pictures import SIZES_PX, NoPictureError, Picture, Previews, full_picture
from dupwatch.review.rules import Proposal, Rule, WrongRuleError, propose

FIRST_ROWS = 100  # more than fit on a screen
ROWS_AT_ONCE = 1_000
BODY_BYTES_MAX = 32 << 20  # decisions about 10,000 groups
NOT_UNDERSTOOD = "This is not what the page sends."
PICTURE_THREADS = 4
PROGRAM = "review.js"  # with all that it imports
STATIC_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
PICTURE_CACHE = "private, max-age=86400, immutable"  # a digest always means the same picture


class JsonAnswer(JSONResponse):
    """JSON in ASCII: paths that are not UTF-8 hold surrogates, which UTF-8 cannot say."""

    def render(self, content: Any) -> bytes:
        """Return the content as JSON."""
        return json.dumps(content, separators=(",", ":")).encode("ascii")


class Review:
    """One page and what it needs: questions, groups, pictures, decisions, news."""

    def __init__(self, make_client: Callable[[], Client], cache: str, journal: str) -> None:
        """``cache`` is the folder for previews, ``journal`` the file of decisions; raises OSError."""
        self.library = Library(1)
        self.decisions = Decisions(journal)
        self.previews = Previews(cache)
        self.news = News()
        self.questions = Asking(make_client, 1, "question")
        self.pictures = Asking(make_client, PICTURE_THREADS, "picture")
        self.listening = Listening(make_client, self.news, self._read_anew, self._catch_up)
        self.acting = Acting(make_client, self.news)
        self.actions = Asking(make_client, 1, "acting")  # takes long: questions must not wait for it
        self.proposal: Proposal | None = None  # by a rule, that was shown last
        self.proposals = 0  # how many there were: the number of the last one
        self.planned = 0  # how many times something had been decided when the plan was made
        self._make_client = make_client

    def start(self) -> None:
        """Begin to read groups and to listen; called in the loop that serves pages."""
        self.news.begin()
        threading.Thread(target=self._read_first, name="first reading", daemon=True).start()
        self.listening.start()

    def close(self) -> None:
        """End all threads that ask."""
        self.listening.stop()
        self.acting.stop()
        self.actions.close()
        self.pictures.close()
        self.questions.close()

    def tell(self, client: Client) -> str | None:
        """Tell the service of decisions; returns why it could not be told, which is no loss."""
        try:
            self.decisions.tell(client)
        except ClientError as error:
            return str(error)
        return None

    def groups_message(self) -> dict[str, Any]:
        """Tell a page which reading of the index there is, and how many times something was decided."""
        return {"kind": "groups", "revision": self.library.revision, "decisions": self.decisions.revision}

    def _catch_up(self) -> None:
        """Take over what was decided in another page of the same groups."""
        with contextlib.suppress(OSError):  # whoever decides is told of it
            if self.decisions.catch_up():
                self.news.tell(self.groups_message())

    def _read_first(self) -> None:
        self._read(self.library)
        self.news.tell(self.groups_message())

    def _read_anew(self) -> None:
        """Read all groups again, and put them in the place of the old ones if anything is different."""
        fresh = Library(self.library.revision + 1)
        self._read(fresh)
        if fresh.error is None and (fresh.groups != self.library.groups or self.library.error is not None):
            self.library = fresh
            self.news.tell(self.groups_message())

    def _read(self, library: Library) -> None:
        """Read all groups; if the service cannot tell them now it is asked again a little later."""
        with self._make_client() as client:
            self.tell(client)
            library.read(client)
        if library.error is not None:
            self.listening.note()


def make_app(review: Review, change_token: Callable[[], str], endpoint: str) -> Starlette:
    """Return the application; ``change_token`` tells what a request that changes something has to carry."""
    static = _static_files()

    async def start(_request: Request) -> Response:
        return JsonAnswer({"token": change_token(), "endpoint": endpoint, "run": review.acting.run})

    async def groups(request: Request) -> Response:
        return _rows(review, _number(request, "revision"), _number(request, "from"))

    async def picture(request: Request) -> Response:
        files = _files_of(review.library, request.path_params["digest"])
        px = _number(request, "px")
        if not files or px not in SIZES_PX:
            return PlainTextResponse("No group holds such a picture.", 404)
        frame = _number(request, "frame") if "frame" in request.query_params else None
        return await _answered(review, lambda client: review.previews.picture(client, files, px, frame))

    async def full(request: Request) -> Response:
        files = _files_of(review.library, request.path_params["digest"])
        if not files:
            return PlainTextResponse("No group holds such a picture.", 404)

        def made(client: Client) -> Picture:
            return full_picture(files) or review.previews.picture(client, files, SIZES_PX[-1], None)

        return await _answered(review, made)

    async def decide(request: Request) -> Response:
        told = await _body(request)
        groups = review.library.groups
        try:
            decisions = [_decision(groups, one) for one in _listed(told, "decisions", dict)]
        except WrongDecisionError as error:
            return JsonAnswer({"error": str(error)}, 409)
        not_told = await review.questions.ask(lambda client: _decided(review, client, decisions))
        return JsonAnswer({"not_told": not_told, **_heard(review)})

    async def take_back(_request: Request) -> Response:
        keys = await review.questions.ask(lambda client: _taken_back(review, client))
        by_earlier = _in_force(review, keys)
        return JsonAnswer({"keys": keys, "decided": by_earlier, **_heard(review)})

    async def decided(_request: Request) -> Response:
        count = review.decisions.revision  # asked first: what comes in between is asked for again
        return JsonAnswer({"decisions": count, "decided": _in_force(review, review.library.groups)})

    async def rules(request: Request) -> Response:
        told = await _body(request)
        keys = None if told.get("keys") is None else frozenset(_listed(told, "keys", str))
        kinds = _listed(told, "kinds", str)
        try:
            rule = Rule.of(kinds, told)
            proposal = await review.questions.ask(
                lambda client: propose(client, review.library, rule, keys, review.decisions.decided())
            )
        except (WrongRuleError, ClientError) as error:
            return JsonAnswer({"error": str(error)}, 409)
        review.proposal = proposal
        review.proposals += 1
        return JsonAnswer(
            {
                "proposal": review.proposals,
                "groups": len(proposal.decisions),
                "files": proposal.files,
                "bytes": proposal.bytes,
                "unsure": proposal.unsure,
                "decided": proposal.decided,
            }
        )

    async def accept_rules(request: Request) -> Response:
        told = await _body(request)
        proposal = review.proposal
        if proposal is None or told.get("proposal") != review.proposals:  # another page may have looked since
            return JsonAnswer({"error": "look at what the rule would decide first"}, 409)
        review.proposal = None
        groups, in_force = review.library.groups, _in_force(review, (one.key for one in proposal.decisions))
        decisions = [
            one
            for one in proposal.decisions
            if one.key in groups and one.is_about(groups[one.key]) and one.key not in in_force
        ]
        not_told = await review.questions.ask(lambda client: _decided(review, client, decisions))
        return JsonAnswer(
            {"not_told": not_told, "decided": {one.key: _told(one) for one in decisions}, **_heard(review)}
        )

    async def plan(_request: Request) -> Response:
        if review.acting.is_busy:  # it would wait for hours, and later decisions behind it
            return JsonAnswer({"busy": True})
        review.decisions.catch_up()
        review.planned, decided = review.decisions.revision, _decided_groups(review)
        return await _acted(review, lambda client: review.acting.prepare(client, decided, review.library.ask_when))

    def plan_file(request: Request) -> Response:
        text = review.acting.text(request.path_params["digest"])
        if text is None:
            return PlainTextResponse("Make the plan again.", 404)
        return PlainTextResponse(text, media_type="application/json")

    async def apply(request: Request) -> Response:
        told = await _body(request)
        plan, action = str(told.get("plan")), str(told.get("action"))
        review.decisions.catch_up()
        if review.decisions.revision != review.planned:
            return JsonAnswer({"error": "something was decided in another window: look at the plan again"}, 409)
        return await _acted(review, lambda _: review.acting.apply(plan, action))

    async def undo(request: Request) -> Response:
        run = str((await _body(request)).get("run"))
        return await _acted(review, lambda _: review.acting.undo(run))

    def stop(_request: Request) -> Response:
        review.acting.stop()
        return JsonAnswer({})

    async def events(_request: Request) -> Response:
        return StreamingResponse(_event_stream(review), media_type="text/event-stream")

    async def page(_request: Request) -> Response:
        return static["index.html"]

    async def static_file(request: Request) -> Response:
        return static.get(request.path_params["name"]) or PlainTextResponse("There is no such file.", 404)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        review.start()
        yield
        review.close()

    return Starlette(
        lifespan=lifespan,
        exception_handlers={OSError: _not_kept},
        routes=[
            Route("/", page),
            Route("/static/{name}", static_file),
            Route("/api/start", start),
            Route("/api/groups", groups),
            Route("/api/picture/{digest}", picture),
            Route("/api/picture/{digest}/full", full),
            Route("/api/events", events),
            Route("/api/decide", decide, methods=["POST"]),
            Route("/api/decided", decided),
            Route("/api/take-back", take_back, methods=["POST"]),
            Route("/api/rules", rules, methods=["POST"]),
            Route("/api/rules/accept", accept_rules, methods=["POST"]),
            Route("/api/plan", plan, methods=["POST"]),
            Route("/api/plan/{digest}", plan_file),
            Route("/api/apply", apply, methods=["POST"]),
            Route("/api/undo", undo, methods=["POST"]),
            Route("/api/stop", stop, methods=["POST"]),
        ],
    )


def _static_files() -> dict[str, Response]:
    texts = {name: static_text(name) for name in ("index.html", "page.css", "mark.svg")} | {PROGRAM: bundle(PROGRAM)}
    return {
        name: Response(text, media_type=STATIC_TYPES[os.path.splitext(name)[1]], headers={"cache-control": "no-cache"})
        for name, text in texts.items()
    }


def _rows(review: Review, revision: int, first: int) -> Response:
    """Return rows from ``first`` on, of this reading of the index or from the beginning of a newer one."""
    library = review.library
    if revision != library.revision:
        first = 0
    is_whole = library.is_whole  # asked before the rows: what comes in between is fetched by the next request
    count = review.decisions.revision  # likewise
    rows = library.rows[first : first + (ROWS_AT_ONCE if first else FIRST_ROWS)]
    keys = [group.key for group in list(library.groups.values())[first : first + len(rows)]]
    head = {
        "revision": library.revision,
        "from": first,
        "total": len(library.rows),
        "whole": is_whole and first + len(rows) >= len(library.rows),
        "error": library.error,
        "incomplete_because": library.incomplete_because,
        "decisions": count,
        "decided": _in_force(review, keys),
    }
    text = json.dumps(head).encode("ascii")[:-1] + b', "rows": [' + b",".join(rows) + b"]}"
    return Response(text, media_type="application/json")


def _heard(review: Review) -> dict[str, int]:
    """Tell all pages that something was decided; returns what the page is told that has decided it."""
    message = review.groups_message()
    review.news.tell(message)
    return {"decisions": message["decisions"]}


def _in_force(review: Review, keys: Iterable[str]) -> dict[str, dict[str, list[str]]]:
    """Return what is decided about these groups as they are now."""
    decided, groups = review.decisions.decided(), review.library.groups
    return {
        key: _told(decided[key])
        for key in keys
        if key in decided and key in groups and decided[key].is_about(groups[key])
    }


def _told(decision: Decision) -> dict[str, list[str]]:
    return {
        "stays": [text_of(path) for path in decision.stays],
        "goes": [text_of(path) for path in decision.goes],
        "out": [text_of(path) for path in decision.out],
    }


def _decision(groups: Mapping[str, Any], told: Mapping[str, Any]) -> Decision:
    group = groups.get(str(told.get("key")))
    if group is None:
        raise WrongDecisionError("this group is not there any more")
    return Decision.of(group, told)


def _decided(review: Review, client: Client, decisions: list[Decision]) -> str | None:
    review.decisions.add(decisions)
    return review.tell(client)


def _taken_back(review: Review, client: Client) -> list[str]:
    groups = review.library.groups

    def is_open(decision: Decision) -> bool:  # else it was carried out, and is put back and not taken back
        group = groups.get(decision.key)
        return bool(decision.out) or (group is not None and decision.is_about(group))  # those out are no group any more

    taken = review.decisions.take_back(is_open)
    try:
        tell_back(client, [one for one in taken if is_open(one)])
        # What the service has forgotten with them is in force all the same: an earlier word, or that of another group.
        tell(client, [one for one in review.decisions.sharing(taken) if is_open(one)])
    except ClientError:
        pass  # the service keeps a choice that nobody holds against it: the journal is what counts here
    if any(one.out for one in taken):
        review.listening.note()  # groups that were apart are groups again, of which no event tells
    return [one.key for one in taken if is_open(one)]


def _decided_groups(review: Review) -> list[tuple[Group, Decision]]:
    groups = review.library.groups
    decided = review.decisions.decided().items()
    return [(groups[key], one) for key, one in decided if key in groups and one.is_about(groups[key])]


async def _acted(review: Review, act: Callable[[Client], dict[str, Any]]) -> Response:
    try:
        return JsonAnswer(await review.actions.ask(act))
    except ClientError as error:
        return JsonAnswer({"error": str(error)}, 409)


def _not_kept(_request: Request, error: Exception) -> Response:
    """Answer where decisions cannot be read or written; whatever else reads files says so itself."""
    assert isinstance(error, OSError)
    return JsonAnswer({"error": f"decisions cannot be kept: {error.strerror or error}"}, 409)


def _files_of(library: Library, digest: str) -> list[HeldFile]:
    try:
        return list(library.files.get(bytes.fromhex(digest), ()))
    except ValueError:
        return []


def _number(request: Request, name: str) -> int:
    text = request.query_params.get(name, "0")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


async def _answered(review: Review, make: Callable[[Client], Picture]) -> Response:
    try:
        made = await review.pictures.ask(make)
    except NoPictureError as error:
        return PlainTextResponse(str(error), 422)
    return Response(made.data, media_type=made.type, headers={"cache-control": PICTURE_CACHE})


async def _body(request: Request) -> dict[str, Any]:
    """Return the JSON object of a request; raises HTTPException for what is none, or too long."""
    text = bytearray()
    async for piece in request.stream():
        text += piece
        if len(text) > BODY_BYTES_MAX:
            raise HTTPException(413, "The request is too long.")
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise HTTPException(400, NOT_UNDERSTOOD)
    return told


def _listed(told: Mapping[str, Any], name: str, kind: type) -> list[Any]:
    """Return a list of a request; raises HTTPException if it is none, or holds anything else."""
    listed = told.get(name, [])
    if not isinstance(listed, list) or not all(isinstance(one, kind) for one in listed):
        raise HTTPException(400, NOT_UNDERSTOOD)
    return listed


async def _event_stream(review: Review) -> AsyncIterator[bytes]:
    yield b": listening\n\n"
    async for message in review.news.listen(review.groups_message):
        yield b"data: " + json.dumps(message).encode("ascii") + b"\n\n"
