"""Middleware: the true sender of a request, probes, unreadable requests, security headers, turns, the reader's zone.

And who acts, for the audit log.
"""

import codecs
import ipaddress
import logging
import zoneinfo
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Final

from django.conf import settings
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponsePermanentRedirect
from django.middleware.common import CommonMiddleware
from django.middleware.gzip import GZipMiddleware
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from accounts.models.access import ApiKey
from accounts.models.users import User
from accounts.request_queue import TURN, take_turn
from heartbeat_project import health
from heartbeat_project.console.views.faults import not_now
from heartbeat_project.event_requests import is_event_path
from heartbeat_project.kernel import proxies
from heartbeat_project.kernel.addresses import is_loopback
from heartbeat_project.kernel.audit import Actor, acting
from heartbeat_project.kernel.errors import NotNow
from heartbeat_project.kernel.forms import has_form, read_form
from heartbeat_project.kernel.gateways import default_gateways, is_own
from heartbeat_project.kernel.public_url import public_url

PROBES: Final = {"/healthz": health.healthz, "/readyz": health.readyz, "/metrics": health.metrics}

# The encodings that a form may declare: UTF-8, its subset ASCII, and two that old tools send.
ENCODINGS: Final = frozenset({"utf-8", "ascii", "iso8859-1", "cp1252"})
_SURROGATES: Final = frozenset(map(chr, range(0xD800, 0xE000)))


log = logging.getLogger(__name__)

FORWARDED_FOR: Final = "HTTP_X_FORWARDED_FOR"
FORWARDED_PROTO: Final = "HTTP_X_FORWARDED_PROTO"
FORWARDED_HOST: Final = "HTTP_X_FORWARDED_HOST"
REAL_IP: Final = "HTTP_X_REAL_IP"
NOT_NAMED: Final = (
    "A request came from %s through a proxy that HEARTBEAT_TRUSTED_PROXIES does not name. Its users cannot be reliably "
    "distinguished, so somebody who tries many passwords may be refused late or never. If the proxy is yours, add its "
    "address or network there."
)
NAMES_NOBODY: Final = (
    "A user opened the sign-in page through %s, which HEARTBEAT_TRUSTED_PROXIES names, but the proxy sent no address "
    "except those of such proxies. Its users cannot be distinguished, so somebody who tries many passwords is not "
    "refused. Make it set X-Forwarded-For; if another proxy is in front of it, it must trust that one (docker compose: "
    "HEARTBEAT_FRONT_PROXY)."
)
# The key in a request's META that is true if the sender certainly used plain HTTP. Behind a proxy that does not say
# how the request came, that is not certain.
CAME_IN_THE_CLEAR: Final = "heartbeat.came_in_the_clear"
HSTS_SECONDS: Final = 365 * 86_400
# Browser features that none of our pages uses. They do use the clipboard and notifications, which are not listed.
PERMISSIONS: Final = (
    "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), hid=(), magnetometer=(), "
    "microphone=(), midi=(), payment=(), serial=(), usb=()"
)
# For every answer that does not bring its own, as the preview of a stored mail does. Nothing that a page says, such as
# a subject that somebody sent, becomes a script or a style: there is none inside the pages.
CONTENT_POLICY: Final = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "worker-src 'self'; manifest-src 'self'; frame-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)


class TrueSender:
    """Replace the address, scheme and host of a trusted proxy with those of the sender."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self._warned: set[str] = set()
        self._gateways = tuple(ipaddress.ip_network(gateway) for gateway in default_gateways())

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Read the headers of a trusted proxy; drop those of any other sender."""
        meta = request.META
        peer = meta.get("REMOTE_ADDR") or ""
        forwarded_for, proto, host = (meta.pop(name, "") for name in (FORWARDED_FOR, FORWARDED_PROTO, FORWARDED_HOST))
        meta[proxies.WAS_FORWARDED] = bool(forwarded_for or proto or host)
        if proxies.is_trusted(peer, settings.TRUSTED_PROXIES):
            meta["REMOTE_ADDR"], hops = proxies.sender(peer, forwarded_for, settings.TRUSTED_PROXIES)
            if proto:
                meta[FORWARDED_PROTO] = proxies.forwarded_value(proto, hops).lower()
            if host:
                meta[FORWARDED_HOST] = proxies.forwarded_value(host, hops)
            sender = self._sender(meta["REMOTE_ADDR"])
            # If even the first named address is one of our proxies, X-Forwarded-Proto says how that proxy connected to
            # another of ours, not how the sender did.
            is_known = bool(proto) and not proxies.is_trusted(meta["REMOTE_ADDR"], settings.TRUSTED_PROXIES)
            # Probes may come directly from the proxies' network, but nobody signs in from there.
            if not sender.is_one and request.path == settings.LOGIN_URL:
                self._warn(NAMES_NOBODY, peer)
        else:
            is_known = bool(settings.TRUSTED_PROXIES) and not (forwarded_for or proto)
            if forwarded_for or proto:
                self._warn(NOT_NAMED, peer)
            if (
                settings.HAS_UNKNOWN_PROXY
                or meta[proxies.WAS_FORWARDED]
                or any(name in meta for name in proxies.OTHER_HEADERS)
            ):
                sender = proxies.sender_by_claim(peer, forwarded_for, meta.get(REAL_IP, ""))
            else:
                sender = self._sender(peer)
        meta[proxies.SENDER] = sender
        # Browsers send Sec-Fetch-Site only over https. Without this check, a proxy that does not report the scheme
        # would cause a redirect loop.
        is_known = is_known and "HTTP_SEC_FETCH_SITE" not in meta
        meta[CAME_IN_THE_CLEAR] = is_known and not request.is_secure()
        return self.get_response(request)

    def _sender(self, address: str) -> proxies.Sender:
        # A sender that connects directly has no address of our proxies, so that their networks do no harm here.
        sender = proxies.sender_by_trust(address, settings.TRUSTED_PROXIES + self._gateways)
        return replace(sender, is_one=False) if sender.is_one and _hides_others(address) else sender

    def _warn(self, message: str, peer: str) -> None:
        """Log a warning once in the life of the process."""
        if message not in self._warned:
            self._warned.add(message)
            log.warning(message, peer)


def _hides_others(address: str) -> bool:
    """Return whether the address is one of this machine, so that a program here may have forwarded the request.

    A rootless container runtime connects from the container's own address, and a port forwarder from loopback. If we
    listen only on loopback, requests from there come from users of this machine.
    """
    parsed = proxies.parsed(address)
    if parsed is None or (parsed.is_loopback and is_loopback(settings.HOST)):
        return False
    return parsed.is_loopback or is_own(parsed)


class SecurityHeaders:
    """Add headers for browsers: HSTS, no caching, no foreign content, no access to the device; redirect HTTP to https.

    Only requests that certainly came over plain HTTP are redirected, so that a proxy that does not report the scheme
    causes no loop. Pings and probes are never redirected.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Redirect, or add the headers to the response."""
        is_https = settings.BASE_URL.startswith("https://")
        in_the_clear = is_https and request.META.get(CAME_IN_THE_CLEAR, False)
        if in_the_clear and request.method in {"GET", "HEAD"} and not _is_ping(request):
            return HttpResponsePermanentRedirect(public_url(request.get_full_path()))
        response = self.get_response(request)
        if is_https and not in_the_clear:
            response.headers.setdefault("Strict-Transport-Security", f"max-age={HSTS_SECONDS}")
        if not request.path.startswith(settings.STATIC_URL):
            response.headers.setdefault("Cache-Control", "no-store")
        response.headers.setdefault("Permissions-Policy", PERMISSIONS)
        response.headers.setdefault("Content-Security-Policy", CONTENT_POLICY)
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer 429 or 503 with the reason if a view raised NotNow."""
        return not_now(request, error) if isinstance(error, NotNow) else None


class Probes:
    """Answer `/healthz`, `/readyz` and `/metrics` whatever the Host header says, because probes connect by IP address.

    The answers use nothing from the request. The middleware behind this one refuses unknown hosts.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer a probe, or pass the request on."""
        probe = PROBES.get(request.path_info)
        return probe(request) if probe else self.get_response(request)


class KnownHosts(CommonMiddleware):
    """Django's CommonMiddleware, which refuses unknown hosts; but not for events.

    Senders inside a network use addresses and names of their own, as for pings, and the answer to an event has no
    address in it.
    """

    def process_request(self, request: HttpRequest) -> HttpResponsePermanentRedirect | None:
        """Raise DisallowedHost for a host that is not ours."""
        return None if is_event_path(request.path_info) else super().process_request(request)


class ReadableRequest:
    """Refuse URLs and forms whose text PostgreSQL cannot store, and drop such cookies.

    NUL or a lone surrogate would raise a database error in every filter that uses it; a form in UTF-7, or in an
    encoding that is not for text, would raise an error in the view. The ping lane has its own answers.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Raise Http404 or BadRequest, or pass the request on."""
        if _is_ping(request):
            return self.get_response(request)
        if not _is_text(request.path):
            raise Http404
        # First of all, because the query string is decoded with the same encoding.
        if request.encoding and codecs.lookup(request.encoding).name not in ENCODINGS:
            raise BadRequest("Send text in UTF-8.")
        if request.META.get("QUERY_STRING"):
            for name, values in request.GET.lists():
                if not all(_is_text(text) for text in (name, *values)):
                    raise BadRequest("The address contains a character that text cannot contain.")
        for name in [name for name, value in request.COOKIES.items() if not _is_text(value)]:
            del request.COOKIES[name]
        return self.get_response(request)


def _is_ping(request: HttpRequest) -> bool:
    return request.path_info.lower().startswith("/heartbeat/")


def _is_text(text: str) -> bool:
    return "\x00" not in text and (text.isascii() or _SURROGATES.isdisjoint(text))


class FormsOfStrangers:
    """Read the form of a user who is not signed in before anything else does; a large one waits for its turn.

    Requests of users who are signed in have a turn already. A signed request, such as one of Twilio, waits as well: its
    signature can be checked only after its form is read.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on."""
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Callable[..., HttpResponse], *_: object) -> HttpResponse | None:
        """Answer 503 if no turn comes in time."""
        if TURN in request.META and has_form(view):
            try:
                read_form(request)
            except NotNow as error:
                return not_now(request, error)
        return None


class AuditActor:
    """Write the changes of a request into the audit log as those of its user: over a page, the API, or an API key."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on."""
        if request.path_info.lower().startswith("/heartbeat/"):  # pings change no configuration
            return self.get_response(request)
        with acting(lambda: _actor_of(request)):
            return self.get_response(request)


def _actor_of(request: HttpRequest) -> Actor:
    """Return who acts, as far as the request knows by now; authentication by API key sets the user later."""
    # The user of the session is not loaded for this: loading it may itself write.
    user = getattr(request, "_cached_user", None) if isinstance(request.user, SimpleLazyObject) else request.user
    is_api = request.path_info.startswith("/api/")
    actor = Actor(via="page", address=str(request.META.get("REMOTE_ADDR") or ""))
    if is_api:
        actor = replace(actor, via="key" if isinstance(getattr(request, "auth", None), ApiKey) else "rest")
    if not isinstance(user, User):
        return actor
    return replace(actor, user=user.pk, name=str(user), organization=user.organization_id)


class Turns:
    """Let each request of a user who is signed in wait for a turn; API key authentication takes its turn itself."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer 503 if no turn comes in time."""
        with ExitStack() as turn:
            request.META[TURN] = turn
            if settings.SESSION_COOKIE_NAME in request.COOKIES and isinstance(request.user, User):
                try:
                    take_turn(request.META, request.user.organization_id)
                except NotNow as error:
                    return not_now(request, error)
            return self.get_response(request)


class CompressedApi(GZipMiddleware):
    """Compress long answers of the API: lists and the OpenAPI document repeat the same names.

    Answers with an ETag are left as they are, because compression would make it a weak one, and so are files that are
    written page by page. Pages are not compressed: a secret on them could be guessed from the length of what is sent.
    """

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Return the response, compressed if the client accepts that."""
        is_api = request.path_info.startswith("/api/")
        if not is_api or response.streaming or response.has_header("ETag"):
            return response
        return super().process_response(request, response)


class ReaderTimeZone:
    """Show times in the time zone of the user who is signed in; the API uses UTC."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Activate the zone for this request only."""
        path = request.path_info.lower()
        if path.startswith(("/api/", "/heartbeat/", "/healthz", "/readyz", "/metrics", "/static/")):
            return self.get_response(request)
        with timezone.override(zoneinfo.ZoneInfo(getattr(request.user, "time_zone", "UTC"))):
            return self.get_response(request)
