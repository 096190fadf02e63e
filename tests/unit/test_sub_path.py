"""A path in the address of the installation: where requests go that come with it or without it."""

import asyncio

import pytest

from heartbeat_project.sub_path import shortened, with_path, without_path
from heartbeat_project.variables import base_url_error
from integrations.ping_lane.pulse import PATH as PULSE_PATH


@pytest.mark.parametrize(
    ("path", "base_path", "short"),
    [
        ("/hb/alerts/", "/hb", "/alerts/"),
        ("/hb", "/hb", "/"),
        ("/hb/", "/hb", "/"),
        ("/alerts/", "/hb", "/alerts/"),
        ("/hbx/alerts/", "/hb", "/hbx/alerts/"),
        ("/hb/hb/", "/hb", "/hb/"),
        ("/a/b/Heartbeat/token", "/a/b", "/Heartbeat/token"),
        ("/heartbeat/heartbeat/token", "/heartbeat", "/heartbeat/token"),
        (f"{PULSE_PATH}secret", "/Heartbeat", f"{PULSE_PATH}secret"),
        (f"/Heartbeat{PULSE_PATH}secret", "/Heartbeat", f"{PULSE_PATH}secret"),
    ],
)
def test_the_path_is_removed_once_and_what_comes_without_it_stays(path, base_path, short):
    assert shortened(path, base_path) == short


@pytest.mark.parametrize("path", ["/hb/alerts/", "/alerts/"])
def test_the_lane_sees_paths_without_it_and_django_all_with_it(path):
    seen = []

    def noting(inner):
        async def application(scope, receive, send):
            seen.append(scope["path"])
            if inner:
                await inner(scope, receive, send)

        return application

    application = without_path(noting(with_path(noting(None), "/hb")), "/hb")
    asyncio.run(application({"type": "http", "path": path}, None, None))

    assert seen == ["/alerts/", "/hb/alerts/"]


def test_without_a_path_nothing_stands_between():
    inner = object()

    assert without_path(inner, "") is with_path(inner, "") is inner


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org",
        "https://example.org/",
        "https://example.org/team/heart-beat_1.0~x",
        "http://[::1]:8000/a/",
    ],
)
def test_a_plain_path_may_end_the_address(url):
    assert base_url_error(url) is None


@pytest.mark.parametrize(
    "url",
    [
        *("https://example.org/a//b", "https://example.org/a%20b", "https://example.org/ä", "https://example.org/a b"),
        *("https://example.org/../a", "https://example.org/a/.", "https://example.org/?a=b", "https://example.org/a#b"),
    ],
)
def test_any_other_end_is_refused_in_one_sentence(url):
    said = base_url_error(url)

    assert said
    assert said.startswith("HEARTBEAT_BASE_URL may end with a path")
    assert url.removeprefix("https://example.org") in said
