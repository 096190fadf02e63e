"""Below a path of a host, behind the real HAProxy, everything works and nothing leads out of the path."""

import contextlib
import html
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urldefrag, urljoin, urlsplit

import httpx
import pytest

from accounts.services.api_keys import create_api_key
from escalation.channels.signatures import twilio_signature
from escalation.models.notifications import Notification
from escalation.models.on_call import CalendarFeed
from escalation.responses import tokens
from heartbeat_project.kernel import clock
from tests import factories
from tests.faults.programs import program
from tests.processes import free_port, until
from tests.web_trial import Web
from tests.world import World, minutes

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.serial]

PASSWORD = "correct horse 12"
TWILIO_TOKEN = "token-of-twilio"
LINK = re.compile(r'(?:href|src|action|formaction|data-refresh|data-service-worker)="([^"]*)"')
LINK_IN_CSS = re.compile(r"url\(['\"]?([^'\")]+)")
MAX_PAGES = 300
PROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 25s
    timeout server 40s

frontend front
    bind 127.0.0.1:{port}
    acl below path {path}
    acl below path_beg {path}/
    http-request return status 410 content-type text/plain string "another product" unless below
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    {rewrite}
    default_backend web

backend web
    server web1 127.0.0.1:{web}
"""


@dataclass(frozen=True)
class Site:
    """An installation below a path: the origin of its proxy, the path, and the port of its web server."""

    origin: str
    path: str
    web: int

    @property
    def root(self) -> str:
        return self.origin + self.path

    @contextlib.contextmanager
    def browser(self) -> Iterator[httpx.Client]:
        with httpx.Client(timeout=30) as client:
            yield client


@contextlib.contextmanager
def proxied(site: Site, *, removes: bool, folder: Path) -> Iterator[None]:
    """Run HAProxy in front of a web server, so that it passes on what is below a path."""
    rewrite = rf"http-request replace-path {site.path}/?(.*) /\1" if removes else ""
    file = folder / "haproxy.cfg"
    port = urlsplit(site.origin).port
    file.write_text(PROXY.format(port=port, path=site.path, web=site.web, rewrite=rewrite))
    haproxy = program("haproxy")
    process = subprocess.Popen([haproxy, "-db", "-f", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: is_up(f"{site.root}/healthz"), seconds=20, what="the proxy passes requests on")
        yield
    finally:
        process.terminate()
        process.wait(10)


def is_up(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.HTTPError:
        return False


PROXIES = [
    pytest.param("/team/beat", None, id="directly"),
    pytest.param("/team/beat", False, id="kept", marks=pytest.mark.long),
    pytest.param("/team/beat", True, id="removed", marks=pytest.mark.long),
]
# The path is one of our own first parts, with which also API URLs and pulses begin.
OWN_PARTS = [
    pytest.param("/heartbeat", False, id="heartbeat", marks=pytest.mark.long),
    pytest.param("/Heartbeat", False, id="Heartbeat", marks=pytest.mark.long),
]


@pytest.fixture
def address(path, removes, settings):
    """The site below `path`, with a port for its proxy; `removes` None: it has none."""
    web = free_port()
    origin = f"http://127.0.0.1:{web if removes is None else free_port()}"
    settings.BASE_URL, settings.BASE_PATH = origin + path, path  # of the messages that this process writes
    return Site(origin, path, web)


@pytest.fixture
def world():
    return World(now=clock.now() - minutes(10))


@pytest.fixture
def owner(world):
    owner = world.person("olga", roles=["Owner"], password=PASSWORD)
    factories.GroupFactory(organization=world.organization, name="Database", primary=[owner])
    factories.BridgeFactory(organization=world.organization)
    return owner


@pytest.fixture
def message(address, world, owner):
    """A mail about a heartbeat that is silent, to somebody who can answer it."""
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.advance(minutes(5))
    return world.expect_page("ana", about=backup)


@pytest.fixture
def site(address, removes, message, tmp_path, settings):
    """The installation at this address, behind HAProxy, which `removes` the path or not; None: without a proxy."""
    web = Web(
        tmp_path / "web.log",
        port=address.web,
        env={
            "HEARTBEAT_BASE_URL": address.root,
            "HEARTBEAT_TRUSTED_PROXIES": "" if removes is None else "127.0.0.1",
            "HEARTBEAT_TWILIO_ACCOUNT_SID": "AC1",
            "HEARTBEAT_TWILIO_AUTH_TOKEN": TWILIO_TOKEN,
            "HEARTBEAT_TWILIO_FROM": "+15550001111",
            "SECRET_KEY": settings.SECRET_KEY,
        },
    )
    try:
        web.start()
        with contextlib.ExitStack() as stack:
            if removes is not None:
                stack.enter_context(proxied(address, removes=removes, folder=tmp_path))
            yield address
    finally:
        web.end()


def sign_in(browser: httpx.Client, site: Site) -> None:
    page = browser.get(f"{site.root}/login/")
    [token] = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    form = {"username": "olga@example.com", "password": PASSWORD, "csrfmiddlewaretoken": token}
    answer = browser.post(f"{site.root}/login/", data=form, headers={"Origin": site.origin})
    assert (answer.status_code, answer.headers["Location"]) == (302, f"{site.path}/")


def post(browser: httpx.Client, site: Site, path: str, **fields: str) -> httpx.Response:
    """Send a form as the browser would, with the token of its cookie."""
    fields["csrfmiddlewaretoken"] = browser.cookies["heartbeat_csrf"]
    return browser.post(site.root + path, data=fields, headers={"Origin": site.origin})


def links_of(answer: httpx.Response) -> Iterator[tuple[str, bool]]:
    """Yield the addresses that a page names, and whether a browser gets them."""
    kind = answer.headers.get("Content-Type", "")
    if kind.startswith("text/css"):
        yield from ((link, True) for link in LINK_IN_CSS.findall(answer.text) if not link.startswith("data:"))
    elif kind.startswith("text/html"):
        for match in LINK.finditer(answer.text):
            yield html.unescape(match[1]), "action" not in match[0].partition("=")[0]


def crawl(browser: httpx.Client, site: Site, *starts: str) -> dict[str, httpx.Response]:
    """Open all pages that others name; each link must stay below the path."""
    waiting, seen = [site.root + start for start in starts], {}
    while waiting and len(seen) < MAX_PAGES:
        url = waiting.pop(0)
        if url in seen:
            continue
        answer = seen[url] = browser.get(url)
        if answer.is_redirect:
            assert urljoin(url, answer.headers["Location"]).startswith(f"{site.root}/"), url
            waiting.append(urljoin(url, answer.headers["Location"]))
        for link, is_got in links_of(answer):
            target = urldefrag(urljoin(url, link)).url
            if urlsplit(target).scheme not in {"http", "https"} or not target.startswith(site.origin):
                continue
            assert target == site.root or target.startswith(f"{site.root}/"), f"{url} leads to {link}"
            if is_got and not urlsplit(target).query:
                waiting.append(target)
    return seen


@pytest.mark.parametrize(("path", "removes"), PROXIES)
def test_no_page_leads_out_of_the_path_and_all_that_pages_name_are_there(site, owner, message):
    with site.browser() as browser:
        first = browser.get(f"{site.root}/")
        assert first.headers["Location"] == f"{site.path}/login/?next={site.path}/"
        sign_in(browser, site)
        seen = crawl(browser, site, "/", "/admin/", "/api/v1/docs/", "/profile/contact-methods/", "/nothing/")

    faults = {url: answer.status_code for url, answer in seen.items() if answer.status_code not in {200, 301, 302}}
    assert faults == {f"{site.root}/nothing/": 404}
    paths = {urlsplit(url).path.removeprefix(site.path) for url in seen}
    assert {"/on-call/", "/profile/", "/admin/integrations/inboundintegration/", "/service-worker.js"} <= paths
    assert any(path.startswith("/static/admin/") for path in paths)
    assert any(path.startswith("/static/heartbeat/api_docs.") for path in paths)
    assert len(paths) > 60


@pytest.mark.parametrize(("path", "removes"), PROXIES)
def test_cookies_are_for_the_path_alone_and_forms_lead_back_to_it(site, world, owner, message):
    backup = world.heartbeats()[0]
    with site.browser() as browser:
        sign_in(browser, site)
        muted = post(browser, site, f"/heartbeats/{backup.pk}/notify-me/stop/")
        assert muted.headers["Location"] == f"{site.path}/heartbeats/{backup.pk}/"
        cookies = {cookie.name: cookie.path for cookie in browser.cookies.jar}
        page = browser.get(f"{site.root}/heartbeats/{backup.pk}/").text
        worker = browser.get(f"{site.root}/service-worker.js").text
        signed_out = post(browser, site, "/logout/")

    assert cookies == {
        "heartbeat_session": site.path,
        "heartbeat_csrf": site.path,
        "heartbeat_device": f"{site.path}/login/",
        "messages": site.path,
    }
    assert "Muted: you are no longer notified" in page
    assert f'fetch("{site.path}/push/renew/"' in worker
    assert re.search(rf'icon: "{site.path}/static/heartbeat/favicon\.[0-9a-f]{{12}}\.svg"', worker)
    assert signed_out.headers["Location"] == f"{site.path}/login/"


@pytest.mark.parametrize(("path", "removes"), [*PROXIES, *OWN_PARTS])
def test_the_api_names_addresses_that_work(site, world, owner, message):
    _, key = create_api_key(owner, name="test", now=clock.now())
    factories.GroupFactory(organization=world.organization, name="Network")
    with site.browser() as client:
        client.headers["Authorization"] = f"Bearer {key}"
        api = f"{site.root}/api/v1"
        first = client.get(f"{api}/groups/?page_size=1").json()
        second = client.get(first["next"])
        integration = client.get(f"{api}/integrations/").json()["results"][0]
        pinged = client.post(integration["api_url"], json={})
        schema = client.get(f"{api}/schema/?format=json").json()
        docs = client.get(f"{api}/docs/").text
        created = client.post(f"{api}/bridges/", json={"name": "Ops", "phone_number": "+49 30 1234567"})
        unknown = client.get(f"{api}/nothing/")
        direct = [client.get(f"http://127.0.0.1:{site.web}{path}").status_code for path in ("/readyz", "/healthz")]

    assert first["next"].startswith(f"{api}/groups/?")
    assert second.status_code == 200
    assert second.json()["previous"].startswith(f"{api}/groups/?")
    assert integration["api_url"].startswith(f"{site.root}/Heartbeat/")
    assert pinged.status_code == 200
    assert world.heartbeats()[0].heartbeat.ping_count == 1
    assert schema["servers"] == [{"url": site.path}]
    assert all(path.startswith(("/api/v1/", "/Heartbeat/")) for path in schema["paths"])
    assert f'href="{site.path}/api/v1/schema/?format=json"' in docs
    assert f'data-root="{site.path}"' in docs
    assert created.status_code == 201
    assert (unknown.status_code, unknown.headers["Content-Type"]) == (404, "application/problem+json")
    assert direct[1] == 200


@pytest.mark.parametrize(("path", "removes"), PROXIES)
def test_links_in_messages_calendars_and_signed_callbacks_work(site, world, owner, message):
    link = re.findall(r"https?://\S+/r/[\w-]+", message.body)[0]
    notification = Notification.objects.get(user=world.person("ana"), kind="page")
    feed = CalendarFeed.objects.create(user=owner, token="a-secret-of-a-calendar-feed")
    with site.browser() as browser:
        page = browser.get(link)
        taken = browser.post(link, data={"action": "assign"}, headers={"Origin": site.origin})
        calendar = browser.get(f"{site.root}/calendar/{feed.token}.ics")
        sms = f"{site.root}/api/v1/responses/twilio/sms/"
        voice = f"{site.root}/api/v1/responses/twilio/voice/{tokens.token(notification.message_id)}/"
        callback = f"{site.root}/api/v1/provider-callbacks/twilio/{notification.message_id}/"
        heard = {url: signed(browser, url) for url in (sms, voice, callback)}
        forged = signed(browser, sms, signed_url=sms.replace(site.path, "", 1))

    assert link.startswith(f"{site.root}/r/")
    assert page.status_code == 200
    assert (taken.status_code, urljoin(link, taken.headers["Location"]).startswith(link)) == (303, True)
    alert = world.alert(world.heartbeats()[0])
    assert alert.owner == world.person("ana")
    assert calendar.text.startswith("BEGIN:VCALENDAR")
    assert {url: answer.status_code for url, answer in heard.items() if answer.status_code >= 300} == {}
    assert f'action="{voice}"' in heard[voice].text
    assert forged.status_code == 403


def signed(client: httpx.Client, url: str, *, signed_url: str = "") -> httpx.Response:
    """Send what Twilio would, with its signature of the URL."""
    form = {"From": "+4915112345678", "Body": "hello", "MessageSid": "SM1", "CallSid": "CA1", "CallStatus": "completed"}
    fields = {name: [value] for name, value in form.items()}
    signature = twilio_signature(signed_url or url, fields, token=TWILIO_TOKEN)
    return client.post(url, data=form, headers={"X-Twilio-Signature": signature})
