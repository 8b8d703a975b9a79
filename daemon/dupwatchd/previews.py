"""Makes previews of pictures that clients send: the bytes of a file go in, a small JPEG, WebP or plain pixels come out.

Who may have one: whoever can read the file, because the bytes come from the client, as they do for `find`. Previews
have a lane and a decode process of their own, so that neither waits for the other: a page asks for many at once, and a
picture that `find` looks up may take half a minute to decode.
"""

from dupwatchd.decoding_for_requests import DecodingForRequests
from dupwatchd.index.pool import NoSuchFrame, NotDecoded, NotRead, Preview, PreviewKind, PreviewWish
from dupwatchd.serve.request_queue import OpenRequest, RequestError
from dupwatchd.serve.results import PreviewResult
from dupwatchd.serve.uploads import Uploads
from dupwatchd.settings import Settings

_RGB_PX_MAX = 1024  # pixels that are sent as they are take three bytes each
_TYPES = {
    PreviewKind.JPEG: "image/jpeg",
    PreviewKind.WEBP: "image/webp",
    PreviewKind.RGB: "application/octet-stream",
}


class Previews:
    """Answers `preview`; any thread may call."""

    def __init__(self, settings: Settings, thumbnail_px: int, uploads: Uploads) -> None:
        self._uploads = uploads
        self._decoding = DecodingForRequests(settings, thumbnail_px)

    def close(self) -> None:
        """End the decode process, once a picture that is being decoded was given up."""
        self._decoding.close()

    def preview(self, request: OpenRequest) -> PreviewResult:
        """A preview of the picture that the client has sent. Raises RequestError."""
        args = request.args
        kind = PreviewKind(args.get("kind", "jpeg"))
        wish = PreviewWish(args["px"], args.get("frame"), kind)
        if kind is PreviewKind.RGB and wish.most_px > _RGB_PX_MAX:
            raise RequestError("bad_request", f"px must be at most {_RGB_PX_MAX} for rgb")
        sent = self._uploads.complete(request.peer, args.get("offset", 0), args["data"], args.get("suffix", ""))
        with sent as path:
            made = self._decoding.run(request, lambda pool: pool.preview(path, wish))
        if isinstance(made, NotRead):
            raise RequestError("unreadable", made.error or "it cannot be read")
        if isinstance(made, NotDecoded):
            raise RequestError("not_a_picture", made.error)
        if isinstance(made, NoSuchFrame):
            raise RequestError("out_of_range", f"the file has {made.frames} frames or pages, counted from 0")
        return _result(made, kind)


def _result(made: Preview, kind: PreviewKind) -> PreviewResult:
    return {
        "data": made.data,
        "type": _TYPES[kind],
        "preview_width": made.width,
        "preview_height": made.height,
        "width": made.full_width,
        "height": made.full_height,
        "frame": made.frame,
        "frames": made.frames,
    }
