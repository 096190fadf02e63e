"""A mail that has only an HTML part is read: what its writer wrote, and not what they quote."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalation.responses.replies.parse_reply import parse_mail
from escalation.responses.replies.reply_html import TEXT_LENGTH, read_html


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("8", "8"),
        ("<html><head><title>Re</title><style>p { x }</style></head><body><p>close</p></body></html>", "close"),
        ('<div dir="ltr">8<br></div><br><div class="gmail_quote"><div>On Mon, Ana wrote:</div>9</div>', "8"),
        ('<div>ack</div><div id="appendonsend"></div><hr><div id="divRplyFwdMsg">From: x</div>close', "ack"),
        ("<p>take it&nbsp;&mdash; on my way</p><blockquote>close</blockquote>", "take it — on my way"),
        ('<div>8</div><div class="moz-cite-prefix">On ...</div>', "8"),
        ("<blockquote>close</blockquote>8", ""),
        ("<script>close</script>", ""),
        ("<!-- close -->8", "8"),
        ("<head><style>x</style><body>8</body>", "8"),
        ("<p>  8\n  on   my way </p>", "8 on my way"),
        ("<b>8</b> <i>on my way</i>", "8 on my way"),
        ("", ""),
    ],
)
def test_what_its_writer_sees_is_read(html, text):
    assert read_html(html).strip() == text


def test_each_block_is_a_line():
    assert parse_mail(read_html("<div>close: fixed</div><div>Best regards</div>")).note == "fixed"
    assert parse_mail(read_html("<div>Hello</div><div>close</div>")) is None


@pytest.mark.parametrize(
    "html",
    [
        "<div>" * 200_000,
        "<!--" * 200_000,
        "<" * 1_000_000,
        "<a " * 300_000,
        '<a b="' * 300_000,
        "&" * 1_000_000,
        "</" * 500_000,
        "<![CDATA[" * 100_000,
        "<?" * 500_000,
        "x " * 500_000,
        "<style>" + "x" * 1_000_000,
    ],
)
def test_a_document_that_is_made_to_be_slow_is_read_at_once(html):
    begun = time.process_time()
    assert len(read_html(html)) <= TEXT_LENGTH
    assert time.process_time() - begun < 0.5


@given(st.text(alphabet="<>/!-=\"'& abdivblockquote8\n"))
def test_any_document_is_read_or_not(html):
    read_html(html)
