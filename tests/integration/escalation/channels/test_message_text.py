"""All texts that are sent stand in docs/messages.md, as they are sent now."""

import difflib
import os

import pytest

from escalation.models.notifications import Notification
from tests.messages.document import PATH, WRITE, rendered

pytestmark = pytest.mark.django_db


def test_the_page_of_all_message_texts_says_what_is_sent():
    text, kinds = rendered()
    assert kinds == set(Notification.Kind.values), "each kind of message has a scene"
    if os.environ.get("HEARTBEAT_WRITE_MESSAGES"):
        PATH.write_text(text, encoding="utf-8")
        return
    before = PATH.read_text(encoding="utf-8") if PATH.exists() else ""
    changed = list(
        difflib.unified_diff(before.splitlines(), text.splitlines(), "docs/messages.md", "now", n=2, lineterm="")
    )
    assert not changed, "\n".join([f"Texts have changed. Read them, and write them anew with: {WRITE}", *changed[:200]])
