"""docs/messages.md: written from the scenes, and compared with them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from django.db import transaction

from tests.messages.scenes import SCENES, kinds_that_were_sent
from tests.messages.stage import READERS, Act, Providers, Sent, Stage, providers, shortened

PATH: Final = Path(__file__).parents[2] / "docs" / "messages.md"
WRITE: Final = "HEARTBEAT_WRITE_MESSAGES=1 script/test tests/integration/escalation/channels/test_message_text.py"
_LISTED: Final = "\n".join(f"* {name}: {what}; {zone}" for name, what, zone in READERS.values())
_INTRODUCTION: Final = f"""# What Heartbeat says

Every text that Heartbeat sends, as its reader gets it. The tests make this page: they let things happen, collect what
providers and the mail server got, and compare it with what stands here. To write it anew after a change of a text:

    {WRITE}

Then read it, as each of its four readers:

{_LISTED}

Where several readers get the same, it stands here once, and "(the reader)" stands for their names. Links and ids are
shortened. A number behind an SMS is its length in characters.
"""


def rendered() -> tuple[str, set[str]]:
    """Return the document as it would be written now, and the kinds of notification that stand in it."""
    parts, kinds = [_INTRODUCTION], set[str]()
    with providers() as made:
        for title, play in SCENES.items():
            acts, seen = _played(play, made)
            kinds |= seen
            parts.append("\n".join([f"## {title}", *(line for act in acts for line in _act(act))]))
    return "\n\n".join(part.strip() for part in parts) + "\n", kinds


def _played(play: object, made: Providers) -> tuple[Sequence[Act], set[str]]:
    """Play a scene in a transaction that is taken back."""
    with transaction.atomic():
        stage = Stage(made)
        try:
            play(stage)  # type: ignore[operator]
            kinds = kinds_that_were_sent()
        finally:
            stage.close()
        transaction.set_rollback(True)
    return stage.acts, kinds


def _act(act: Act) -> list[str]:
    lines = ["", f"### {act.what}"]
    alike: dict[tuple[str, str], list[str]] = {}
    for sent in act.sent:
        alike.setdefault((sent.channel, shortened(_without_reader(sent))), []).append(sent.reader)
    for (channel, text), readers in alike.items():
        names, said = list(dict.fromkeys(readers)), text
        if len(names) == 1:
            said = text.replace("(the reader)", names[0])
        length = f" ({len(_one_text(act.sent, channel, names[0], text))})" if channel == "SMS" else ""
        kind = "json" if channel == "Webhook" else "text"
        lines += ["", f"**{channel}** to {', '.join(names)}{length}", "", f"```{kind}", said, "```"]
    for asked in act.asked:
        lines += ["", f"*{asked.question}*", "", "```text", shortened(asked.answer), "```"]
    return lines


def _one_text(sent: Sequence[Sent], channel: str, reader: str, text: str) -> str:
    """Return the text as it was sent, with its links whole."""
    meant = (each.text for each in sent if (each.channel, each.reader) == (channel, reader))
    return next((whole for whole in meant if shortened(whole) == text), text)


def _without_reader(sent: Sent) -> str:
    return re.sub(rf"(Heartbeat for|links\s+are\s+for) {re.escape(sent.reader)}\b", r"\1 (the reader)", sent.text)
