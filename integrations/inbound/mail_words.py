"""What a mail says if nobody configured anything: whether it opens or closes, and what it is about (pure).

Words that open win over words that close: a mail that is read wrongly may page somebody for nothing, but must not
close or ignore what goes on. For the same reason, numbers stay in the key, and only dates and times are taken out.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from integrations.inbound.event import Action

# Characters of the subject and of a line of the text that are read.
MAX_SUBJECT: Final = 1_000
MAX_LINE: Final = 500
FIRST_LINES: Final = 5
OPEN_WORDS: Final = (
    *("problem", "down", "critical", "crit", "failed", "failure", "error", "alert", "warning", "warn", "alarm"),
    *("triggered", "firing", "problems", "failures", "errors", "alerts", "warnings", "alarms", "unreachable"),
)
CLOSE_WORDS: Final = (
    *("recovery", "recovered", "resolved", "ok", "up", "closed", "cleared", "success", "successful", "completed"),
)
# Nouns that stand beside a state: “RECOVERY Service Alert: web1 is OK” is over, “1 success, 1 failed copy” is not.
_NOUNS: Final = frozenset({"alert", "alerts", "alarm", "alarms", "problem", "problems"})
# “Follow up” and “set up” do not say that anything is up.
_BEFORE_UP: Final = frozenset({"is", "are", "was", "now", "again", "host", "server", "service", "status", "state"})
# In a sentence of the text, a word that closes counts only behind one of these, or alone, or in capitals.
_BEFORE_CLOSE: Final = frozenset({"is", "are", "was", "has", "have", "been", "state", "status", "now", "again"})
_AROUND: Final = "[]():|;=<>"
_ACKNOWLEDGED: Final = frozenset({"acknowledgement", "acknowledged", "acknowledgment"})
_PREFIX: Final = re.compile(r"\s*(?:re|fwd?|aw|wg|sv|vs|antw|tr|rv)\s*(?:\[\d{1,3}\])?\s*:", re.IGNORECASE)
_WORD: Final = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
# “Resolved in 5m 12s: High load”, as Zabbix writes.
_DURATION: Final = re.compile(r"\b(?:in|after)\s+(?:\d{1,6}\s?[a-z]{1,8}[\s,]{0,2}){1,6}:", re.IGNORECASE)
_MONTH: Final = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}"
_TIME: Final = r"\d{1,2}:\d{2}:\d{2}(?:[.,]\d{1,9})?"
_ZONE: Final = r"(?:\s{0,2}(?:Z|UTC|GMT|CES?T|[AP]M|[+-]\d{2}:?\d{2})(?!\w))?"
_DATE: Final = (
    rf"(?:\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}|\d{{1,2}}[./-]\d{{1,2}}[./-]\d{{4}}"
    rf"|\d{{1,2}}\.?\s{{1,2}}{_MONTH}\.?,?\s{{1,2}}\d{{4}}|{_MONTH}\.?\s{{1,2}}\d{{1,2}},?\s{{1,2}}\d{{4}})"
)
_WEEKDAY: Final = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]{0,6},?\s{1,2})?"
_DATES: Final = re.compile(
    rf"(?<![\w.:/-]){_WEEKDAY}(?:{_DATE}(?:[T,\s]{{1,3}}(?:at\s)?\d{{1,2}}:\d{{2}}(?::\d{{2}}(?:[.,]\d{{1,9}})?)?{_ZONE})?"
    rf"|{_TIME}{_ZONE})(?![\w/])",
    re.IGNORECASE,
)
# “[FIRING:2]”: the count of a marker.
_COUNT: Final = re.compile(r"(?<=[a-z]):\d{1,5}(?=\])", re.IGNORECASE)
_MARKS: Final = re.compile(r"[^\w./:@%+#-]+")
_LONE: Final = re.compile(r"(?:(?<=\s)|^)[./:@%+#-]+(?=\s|$)")


@dataclass(frozen=True, slots=True)
class _Word:
    text: str  # in lower case
    start: int
    end: int
    is_upper: bool


def action_of(subject: str, text: str, words: Mapping[str, Sequence[str]]) -> Action:
    """Return what a mail asks for by its subject, or else by the first lines of its text; without a word, it opens.

    `words` are those of the integration by action; an action that it lists has only those, but for "open".
    """
    subject = _without_reply_marks(subject[:MAX_SUBJECT])
    if (found := _action_in(subject, words, is_text=False)) is not None:
        return found
    lines = [line[:MAX_LINE] for line in text[: 20 * MAX_LINE].splitlines() if line.strip()][:FIRST_LINES]
    actions = [found for line in lines if (found := _action_in(line, words, is_text=True)) is not None]
    return Action.OPEN if Action.OPEN in actions else next(iter(actions), Action.OPEN)


def subject_key(subject: str, words: Mapping[str, Sequence[str]], *, lists: Sequence[str] = ()) -> str:
    """Return what a subject is about, in lower case: without reply marks, list tags, words of a state, dates and marks.

    `lists` are the names that the mail's List-Id gives; only a tag that is one of them is taken out, since
    “[web1]” may be the place of the problem. "" if nothing is left.
    """
    subject = _without_list_tags(_without_reply_marks(subject[:MAX_SUBJECT]), lists)
    subject = _COUNT.sub("", subject)
    subject = _DURATION.sub(" ", subject)
    subject = _DATES.sub(" ", subject)
    state_words = {*OPEN_WORDS, *CLOSE_WORDS, *_ACKNOWLEDGED}
    phrases = [phrase for action in words for phrase in words[action]]
    kept, position = [], 0
    for start, end in sorted(_places(subject, [*phrases, *state_words])):
        if start >= position:
            kept.append(subject[position:start])
            position = end
    kept.append(subject[position:])
    plain = _MARKS.sub(" ", " ".join(kept))
    plain = _LONE.sub(" ", plain)
    plain = " ".join(word.strip(":-") for word in plain.lower().split())
    return " ".join(plain.split())


def _action_in(line: str, words: Mapping[str, Sequence[str]], *, is_text: bool) -> Action | None:
    """Return what a line asks for; None if no word of it says so."""
    line = _after_arrow(line)
    found = list(_words(line))
    covered: list[tuple[int, int]] = []
    # A phrase of the integration covers the words in it, the longest first.
    own = [(phrase, action) for action in Action for phrase in words.get(action, ())]
    asked: set[Action] = set()
    for phrase, action in sorted(own, key=lambda entry: -len(entry[0])):
        for start, end in _places(line, [phrase]):
            if not any(start < last and first < end for first, last in covered):
                covered.append((start, end))
                asked.add(action)
    rest = [
        (number, word)
        for number, word in enumerate(found)
        if not any(word.start < last and first < word.end for first, last in covered)
    ]
    opens = [word for _, word in rest if word.text in OPEN_WORDS]
    closes = [
        word
        for number, word in rest
        if Action.CLOSE not in words and word.text in CLOSE_WORDS and _says_state(line, found, number, is_text=is_text)
    ]
    if Action.ACKNOWLEDGE not in words and found and found[0].text in _ACKNOWLEDGED and not is_text:
        asked.add(Action.ACKNOWLEDGE)
    if Action.IGNORE in asked:
        return Action.IGNORE
    if Action.ACKNOWLEDGE in asked:
        return Action.ACKNOWLEDGE
    is_over = bool(closes) or Action.CLOSE in asked
    if any(word.text not in _NOUNS for word in opens) or (opens and not is_over):
        return Action.OPEN
    if Action.OPEN in asked or Action.UPDATE in asked:
        return Action.OPEN if Action.OPEN in asked else Action.UPDATE
    return Action.CLOSE if is_over else None


def _says_state(line: str, found: Sequence[_Word], number: int, *, is_text: bool) -> bool:
    """Return whether a word that closes stands for a state, and is no part of a phrase such as “follow up”."""
    word = found[number]
    before = found[number - 1].text if number else ""
    start = found[number - 1].end if number else 0
    end = found[number + 1].start if number + 1 < len(found) else len(line)
    # Alone between marks, as in “[web1] [Up]” and “State: OK”.
    if word.is_upper or (
        _has_mark(line[start : word.start], number == 0) and _has_mark(line[word.end : end], number + 1 == len(found))
    ):
        return True
    if before == "back":  # “is back up”, but not “back up the data”
        before = found[number - 2].text if number > 1 else ""
    if word.text == "up":
        return before in _BEFORE_UP or (not number and not is_text)
    return not is_text or before in _BEFORE_CLOSE or (not number and len(found) <= 5)


def _has_mark(between: str, is_outermost: bool) -> bool:
    return any(mark in between for mark in _AROUND) or (is_outermost and not between.strip(" .!*"))


def _words(text: str) -> Iterator[_Word]:
    for match in _WORD.finditer(text):
        word = match[0]
        yield _Word(word.lower(), match.start(), match.end(), len(word) > 1 and word.isupper())


def _places(text: str, phrases: Sequence[str]) -> list[tuple[int, int]]:
    """Return where phrases stand in a text, as whole words, whatever the case and the space between them."""
    found = list(_words(text))
    by_first: dict[str, list[list[str]]] = {}
    for phrase in phrases:
        parts = [word.text for word in _words(phrase)]
        if parts:
            by_first.setdefault(parts[0], []).append(parts)
    places = []
    for number, word in enumerate(found):
        places += [
            (word.start, found[number + len(parts) - 1].end)
            for parts in by_first.get(word.text, ())
            if [one.text for one in found[number : number + len(parts)]] == parts
        ]
    return places


def _without_reply_marks(subject: str) -> str:
    for _ in range(10):
        match = _PREFIX.match(subject)
        if match is None:
            break
        subject = subject[match.end() :]
    return subject.strip()


def _without_list_tags(subject: str, lists: Sequence[str]) -> str:
    names = {name.strip().lower() for name in lists}
    for _ in range(3):
        tag, found, rest = subject.lstrip()[1:].partition("]")
        if not (subject.lstrip().startswith("[") and found and tag.strip().lower() in names):
            break
        subject = _without_reply_marks(rest)
    return subject


def _after_arrow(line: str) -> str:
    """Return what stands behind the last arrow: “OK -> CRIT” is about CRIT, as Checkmk writes."""
    for arrow in ("->", "→", "=>"):
        if arrow in line:
            line = line.rpartition(arrow)[2]
    return line
