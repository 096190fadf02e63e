"""Find the group members whom a calendar event means, by e-mail first, then by their whole names (pure).

A name must be whole: "On call: Ana Torres" does not mean the colleague Ana. It may stand beside words that are not
names. Names in brackets count only if there is none outside them, and people who are covered do not count: "Ben (covers
for Ana)" and "Ben for Ana" mean Ben. If in doubt, an event means nobody rather than the wrong person: the page of the
shift lists it, and people can correct it.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise, product
from typing import Final

MAX_LETTERS: Final = 500  # characters of an event's summary that are read
MAX_WORDS_OF_A_NAME: Final = 8
MAX_TURNED: Final = 8  # parts between commas that are searched for names such as "Torres, Ana"

_BRACKETS: Final = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}
_APOSTROPHES: Final = "'\u2019"
_WITHIN_WORDS: Final = _APOSTROPHES + "-._"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# After one of these words and a first name comes the person who is covered.
_COVERS: Final = _words("for cover covers covering instead replaces replacing statt für anstelle vertritt pour por per")
# These belong to the name beside them even if they are written in lower case.
_PARTICLES: Final = _words(
    "af al av bint da das de del della den der di do dos du el ibn la le los op ten ter van vom von zu"
)
# These are not names and may stand beside one.
_COMMON: Final = _COVERS | _words(
    "and or then to with und oder bis mit et y e i og och en ve "
    "on call on-call oncall duty shift rota rotation roster schedule standby stand-by week weekend weekday day night "
    "days nights early late morning afternoon evening primary secondary backup manager support first second third tier "
    "level line lead team is the a this hours holiday holidays sre ops devops dev it mr mrs ms dr prof "
    "monday tuesday wednesday thursday friday saturday sunday mon tue wed thu fri sat sun "
    "bereitschaft rufbereitschaft bereitschaftsdienst dienst schicht frühschicht spätschicht nachtschicht woche "
    "wochenende tag nacht früh spät astreinte garde semaine nuit jour guardia turno semana noche reperibilità plantão "
    "piket pikett nöbet vakt beredskap päivystys dyżur"
)


@dataclass(frozen=True, slots=True)
class Person:
    """A member of the group."""

    id: int
    email: str
    name: str


class Members:
    """An index of a group's members by e-mail and name; words of the texts `common` may stand beside a name, too."""

    def __init__(self, people: Iterable[Person], *, common: Iterable[str] = ()) -> None:
        self._by_email: dict[str, list[int]] = {}
        self._by_name: dict[tuple[str, ...], list[int]] = {}
        self._common = _COMMON.union(*map(_folded_words, common))
        for person in people:
            self._by_email.setdefault(person.email.lower(), []).append(person.id)
            name = _folded_words(person.name)[:MAX_WORDS_OF_A_NAME]
            if name:
                self._by_name.setdefault(name, []).append(person.id)
        self._longest = max(map(len, self._by_name), default=0)
        # The lengths of the names that begin with a word, longest first: most words begin none, and cost one look-up.
        lengths: dict[str, set[int]] = {}
        for name in self._by_name:
            lengths.setdefault(name[0], set()).add(len(name))
        self._lengths = {word: sorted(counts, reverse=True) for word, counts in lengths.items()}

    def find(self, summary: str, *, emails: Sequence[str] = (), declined: Sequence[str] = ()) -> list[int]:
        """Return the ids of the members whom an event means, without those who declined."""
        attending = self._find_by_emails(emails)
        if attending:
            return attending
        words = unicodedata.normalize("NFC", summary[:MAX_LETTERS])
        declined_ids = set(self._find_by_emails(declined))
        outside, inside = _without_brackets(words)
        people = self._find_by_emails(_addresses(words)) or self._find_names(outside) or self._find_names(inside)
        return [person for person in people if person not in declined_ids]

    def _find_by_emails(self, emails: Iterable[str]) -> list[int]:
        return list(dict.fromkeys(person for email in emails for person in self._by_email.get(email, ())))

    def _find_names(self, text: str) -> list[int]:
        matches: dict[int, None] = {}
        for words in _segments(self._reorder_names(text)):
            folded = [_folded(word) for word in words]
            index = 0
            while index < len(words):
                if matches and folded[index] in _COVERS:
                    break
                length, people = self._name_at(words, folded, index)
                matches.update(dict.fromkeys(people))
                index += length
        return list(matches)

    def _reorder_names(self, text: str) -> str:
        """Return the text with “Torres, Ana” as “Ana Torres”, if that is a member and “Torres” alone is not."""
        pieces = [piece.split() for piece in text.split(",")]
        if len(pieces) == 1 or self._longest < 2:
            return text
        for before, behind in pairwise(pieces[:MAX_TURNED]):
            last_words, first_words = (
                [_folded(word.strip(_WITHIN_WORDS)) for word in words]
                for words in (before[-self._longest :], behind[: self._longest])
            )
            lengths = [range(1, min(self._longest, len(words) + 1)) for words in (before, behind)]
            for lasts, firsts in product(*lengths):
                whole = (*first_words[:firsts], *last_words[-lasts:])
                if whole in self._by_name and whole[firsts:] not in self._by_name:
                    last, first = before[-lasts:], behind[:firsts]
                    before[-lasts:], behind[:firsts] = [], [*first, *last]
                    break
        return ",".join(" ".join(words) for words in pieces)

    def _name_at(self, words: Sequence[str], folded: Sequence[str], index: int) -> tuple[int, list[int]]:
        """Return the number of words to skip from `index` on, and the ids of the members whom they name."""
        for length in self._lengths.get(folded[index], ()):
            name = tuple(folded[index : index + length])
            people = self._by_name.get(name) if len(name) == length else None
            if people:
                beside = words[index + length : index + length + 1]
                if length == 1:
                    # Before a first and a last name stands a label; before a single name may stand another name.
                    beside = [*words[max(0, index - 1) : index], *beside]
                is_whole = all(self._is_no_name(word, beside=words[index]) for word in beside)
                return length, people if is_whole else []
        return 1, []

    def _is_no_name(self, word: str, *, beside: str) -> bool:
        folded = _folded(word)
        if folded in self._common or any(letter.isdigit() for letter in word):
            return True
        # If names are written with a capital, words in lower case are not names.
        return beside[:1].isupper() and word == word.lower() and folded not in _PARTICLES


def _addresses(text: str) -> Iterator[str]:
    for word in "".join(" " if letter in '<>()[]{},;:|"/' else letter for letter in text).split():
        if "@" in word:
            yield word.strip(_WITHIN_WORDS).lower()


def _without_brackets(text: str) -> tuple[str, str]:
    """Return the text outside of brackets and the text inside, each with bars for the characters of the other."""
    outside, inside, depth = [], [], 0
    for letter in text:
        step = _BRACKETS.get(letter, 0)
        depth = max(0, depth + step)
        outside.append(letter if depth == 0 and not step else "|")
        inside.append(letter if depth and not step else "|")
    return "".join(outside), "".join(inside)


def _segments(text: str) -> list[list[str]]:
    """Return the words of a text, in lists that are separated where punctuation separates names."""
    separated = [
        letter if letter.isalnum() or letter.isspace() or letter in _WITHIN_WORDS or _is_mark(letter) else " | "
        for letter in unicodedata.normalize("NFC", text)
    ]
    segments: list[list[str]] = [[]]
    for written in "".join(separated).split():
        word = written.strip(_WITHIN_WORDS)
        for apostrophe in _APOSTROPHES:
            word = word.removesuffix(f"{apostrophe}s")
        if word and word != "|":
            segments[-1].append(word)
        if not word or word == "|" or (written.endswith(".") and len(written) > 3):  # not an initial or a title
            segments.append([])
    return [words for words in segments if words]


def _is_mark(letter: str) -> bool:
    return unicodedata.category(letter).startswith("M")


def _folded_words(text: str) -> tuple[str, ...]:
    return tuple(_folded(word) for word in chain.from_iterable(_segments(text)))


def _folded(word: str) -> str:
    return unicodedata.normalize("NFC", word.casefold()).replace("\u2019", "'")
