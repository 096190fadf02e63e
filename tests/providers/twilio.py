"""Twilio: the two resources that we use, and the callbacks that it signs."""

import base64
import hashlib
import hmac
import itertools

from tests.providers.server import Provider, Request, answer

SID, TOKEN = "AC" + "0" * 32, "the-token"


class Twilio(Provider):
    """Take SMS and calls from the account that we know, in the form that Twilio documents.

    `taken` are the forms of what was taken, each with its `sid`; `changed` is what calls were asked to say instead.
    """

    def __post_init__(self) -> None:
        self.usual = self._take
        self._numbers = itertools.count(1)
        self.taken: list[dict[str, str]] = []
        self.changed: list[tuple[str, str]] = []
        super().__post_init__()

    def _take(self, request: Request) -> bytes:
        expected = "Basic " + base64.b64encode(f"{SID}:{TOKEN}".encode()).decode()
        if request.headers.get("authorization") != expected:
            return answer(401, {"code": 20003, "message": "Authenticate", "status": 401})
        prefix = f"/2010-04-01/Accounts/{SID}/"
        needed = {f"{prefix}Messages.json": ("SM", "Body"), f"{prefix}Calls.json": ("CA", "Twiml")}
        call = request.path.removeprefix(f"{prefix}Calls/").removesuffix(".json")
        if any(form["sid"] == call for form in self.taken):
            self.changed.append((call, request.form["Twiml"]))
            return answer(200, {"sid": call, "status": "in-progress"})
        if request.path not in needed:
            return answer(404, {"code": 20404, "message": "Not found", "status": 404})
        letters, field = needed[request.path]
        if not request.form.get("To", "").startswith("+") or not request.form.get(field):
            return answer(400, {"code": 21211, "message": "Invalid 'To' Phone Number", "status": 400})
        sid = f"{letters}{next(self._numbers):032x}"
        self.taken.append(request.form | {"sid": sid})
        return answer(201, {"sid": sid, "status": "queued"})


def signature(url: str, fields: dict[str, str]) -> str:
    """Return what Twilio's documentation says: HMAC-SHA1 over the address and the fields sorted by name."""
    text = url + "".join(name + fields[name] for name in sorted(fields))
    return base64.b64encode(hmac.new(TOKEN.encode(), text.encode(), hashlib.sha1).digest()).decode()
