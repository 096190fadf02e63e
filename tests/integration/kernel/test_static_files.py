"""Static files: names by content, kept for a year, compressed, and files that name others."""

import gzip
import hashlib
import re

import brotli
import pytest
from django.conf import settings
from django.core.management import call_command
from django.templatetags.static import static
from django.test import Client

from heartbeat_project import static_files


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(static_files, "_assets", {})


def get(path, **headers):
    return Client().get(path, headers=headers)


def test_a_name_says_the_content_and_is_kept_for_a_year():
    path = static("heartbeat/page.js")
    assert re.fullmatch(r"/static/heartbeat/page\.[0-9a-f]{12}\.js", path)
    response = get(path)
    assert (response.status_code, response["Cache-Control"]) == (200, "public, max-age=31536000, immutable")
    assert response["Content-Type"] == "text/javascript; charset=utf-8"
    assert int(response["Content-Length"]) == len(response.content)


@pytest.mark.parametrize(
    ("accepted", "encoding", "unpack"),
    [
        ("gzip, deflate, br", "br", brotli.decompress),
        ("gzip;q=0.5", "gzip", gzip.decompress),
        ("br;q=0, gzip", "gzip", gzip.decompress),
        ("identity", None, bytes),
        ("", None, bytes),
    ],
)
def test_it_is_compressed_for_clients_that_unpack_it(accepted, encoding, unpack):
    path = static("heartbeat/vendor/htmx-2.0.11.min.js")
    response = get(path, accept_encoding=accepted)
    assert response.headers.get("Content-Encoding") == encoding
    assert response["Vary"] == "Accept-Encoding"
    assert unpack(response.content) == get(path).content
    if encoding:
        assert len(response.content) < 18_000 < len(get(path).content)
    head = Client().head(path, headers={"accept_encoding": accepted})
    assert (head.content, head["Content-Length"]) == (b"", response["Content-Length"])


def test_a_file_names_others_by_their_hashes_so_that_a_change_reaches_browsers():
    module = get(static("heartbeat/page.js")).content.decode()
    named = re.findall(r'import "\./([\w.]+)";', module)
    assert len(named) == 5
    for name in named:
        assert re.fullmatch(r"\w+\.[0-9a-f]{12}\.js", name)
        assert get(f"/static/heartbeat/{name}")["Cache-Control"].endswith("immutable")
    sheet = get(static("admin/css/base.css")).content.decode()
    pictures = re.findall(r"url\(\"?([^)\"]+\.svg)\"?\)", sheet)
    assert pictures
    for picture in pictures:
        assert re.search(r"\.[0-9a-f]{12}\.svg$", picture)
        assert get(f"/static/admin/css/{picture}").status_code in {200, 404}


def test_a_page_of_before_an_upgrade_gets_the_file_of_today_and_does_not_keep_it():
    response = get("/static/heartbeat/page.0123456789ab.js")
    assert (response.status_code, response["Cache-Control"]) == (200, "no-cache")
    assert response.content == get(static("heartbeat/page.js")).content


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path", ["heartbeat/nothing.0123456789ab.js", "../settings.0123456789ab.py", "/etc/passwd.0123456789ab.x", "x"]
)
def test_what_is_no_static_file_is_not_found(path):
    assert get(f"/static/{path}").status_code == 404


def test_collected_files_have_the_same_names(tmp_path, settings):
    name = static("heartbeat/look.css")
    settings.STATIC_ROOT = str(tmp_path)
    call_command("collectstatic", interactive=False, verbosity=0)
    static_files._assets.clear()
    assert static("heartbeat/look.css") == name


def test_vendored_files_are_those_whose_checksums_the_decision_names():
    page = (settings.BASE_DIR / "docs" / "decisions" / "0081-htmx-and-idiomorph.md").read_text()
    named = dict(re.findall(r"\| `([\w.-]+\.js)` \| .* \| `([0-9a-f]{64})` \|", page))
    folder = settings.BASE_DIR / "static" / "heartbeat" / "vendor"
    assert named == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.js")}
