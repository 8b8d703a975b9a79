"""The page on which copies are looked at and decided: a small web server on loopback, for one person and one browser.

In: a service that is asked over its socket, and the photo files, opened with the rights of whoever started the page.
Out: the page, and decisions, which go to the service, to a journal of the caller's own, and on request become a plan.

- `server` starts, opens the browser, and ends after an hour without use; `app` names what can be asked for; `guard`
  decides who may ask.
- `library` holds the groups as the service told them; `pictures` makes and caches previews; `decisions` keeps what was
  decided; `acting` turns it into a plan, and applies it; `news` tells open pages what has changed.
- `static` is the page itself: plain modules and style sheets, sent as they are.

Only here are Starlette and uvicorn imported, and only when a page is asked for.
"""
