"""Conditions of rules: paths into a payload, and what is asked of the values there; see docs/mapping.md."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, Final

from integrations.inbound.patterns import compile_pattern
from integrations.inbound.values import TEXT_LIMIT, cut, is_empty, number_of, text_of
from integrations.inbound.work import JSON_COST, RULE_LIMIT, Work

PATH_LIMIT: Final = 500
PARTS_LIMIT: Final = 64
WILDCARDS_LIMIT: Final = 3
# Values that a path with [*] finds, and the letters of all of them.
VALUES_LIMIT: Final = 1_000
LETTERS_LIMIT: Final = 5 * TEXT_LIMIT

_EVERY: Final = "[*]"
_ROOT: Final = "."


class PathError(ValueError):
    """A path cannot be read; the text says why, for people."""


@dataclass(frozen=True, slots=True)
class Path:
    """A parsed path: keys of objects, indices of lists, and None for each element."""

    text: str
    parts: tuple[str | int | None, ...]


@lru_cache(maxsize=4_000)
def parse_path(text: str) -> Path:
    """Return the path that a text such as `a.b[0].c`, `["a.b"]` or `alerts[*].status` says; "." is the whole payload.

    Raises PathError.
    """
    if not isinstance(text, str) or not text.strip():
        raise PathError("A path is missing: it is a text such as alerts[0].status, or “.” for the whole payload.")
    text = text.strip()
    if len(text) > PATH_LIMIT:
        raise PathError(f"A path has at most {PATH_LIMIT} characters, this one has {len(text)}.")
    parts = () if text == _ROOT else tuple(_parts(text))
    if len(parts) > PARTS_LIMIT or parts.count(None) > WILDCARDS_LIMIT:
        raise PathError(f"A path has at most {PARTS_LIMIT} steps, and {_EVERY} at most {WILDCARDS_LIMIT} times.")
    return Path(text, parts)


class Values:
    """What a path has found in one payload, and the texts of it, made when they are asked for."""

    __slots__ = ("_letters", "_texts", "values")

    def __init__(self, values: list[Any]) -> None:
        self.values = [cut(value) for value in values]
        self._texts: list[str] | None = None
        self._letters = 0

    def texts(self, work: Work) -> list[str]:
        """Return the texts of the values with case ignored; one empty text if there is none. Raises OutOfWorkError."""
        if self._texts is None:
            self._texts = [_folded(text) for text in self.plain_texts(work)] or [""]
            self._letters = sum(map(len, self._texts))
        work.spend(100 + 10 * len(self._texts) + self._letters // 4)
        return self._texts

    def plain_texts(self, work: Work) -> Iterator[str]:
        """Yield the texts of the values, up to 100,000 letters of them. Raises OutOfWorkError."""
        left = LETTERS_LIMIT
        for value in self.values:
            text = text_of(value)
            work.spend(100 + len(text) * (1 if isinstance(value, str) else JSON_COST))
            yield text
            left -= len(text)
            if left < 0:
                return


# What paths have found in one payload, by path: rules ask for the same paths again and again.
Found = MutableMapping[str, Values]
# What is asked of the values at a path, with the value of the condition.
Operator = Callable[[Values, Any, Work], bool]


def values_at(payload: Any, path: Path) -> list[Any]:
    """Return the values at a path in their order, at most 1,000; none if it leads nowhere."""
    return _paid_values(payload, path, Work())


def holds(when: Mapping[str, Any], payload: Any, *, found: Found | None = None, work: Work | None = None) -> bool:
    """Return whether a payload fulfils all or any of the conditions: `{"all": [condition, …]}` or `{"any": […]}`.

    Without conditions it does. Rules for one payload share `found`, an empty dict at first, which saves looking for a
    path twice, and `work`. Raises OutOfWorkError; PathError or PatternError for conditions that `check_rules` refuses.
    """
    found = {} if found is None else found
    work = Work(RULE_LIMIT, whole=work)
    if "any" in when:
        return any(_condition_holds(condition, payload, found, work) for condition in when["any"])
    return all(_condition_holds(condition, payload, found, work) for condition in when.get("all", ()))


def _condition_holds(condition: Mapping[str, Any], payload: Any, found: Found, work: Work) -> bool:
    path = condition["path"]
    if (values := found.get(path)) is None:
        values = found[path] = Values(_paid_values(payload, parse_path(path), work))
    result = OPERATORS[condition["op"]](values, condition.get("value"), work)
    return result is not bool(condition.get("not"))


def _paid_values(payload: Any, path: Path, work: Work) -> list[Any]:
    values = [payload]
    for part in path.parts:
        work.spend(50 + 50 * len(values))
        values = list(islice((found for value in values for found in _step(value, part)), VALUES_LIMIT))
    return values


def _step(value: Any, part: str | int | None) -> Iterator[Any]:
    """Yield what one step of a path finds in a value; a number finds an index of a list, or a key of an object."""
    if isinstance(value, Mapping):
        if part is None:
            yield from islice(value.values(), VALUES_LIMIT)
        elif str(part) in value:
            yield value[str(part)]
    elif isinstance(value, list):
        if part is None:
            yield from value[:VALUES_LIMIT]
        elif (index := _index(part)) is not None and -len(value) <= index < len(value):
            yield value[index]


def _index(part: str | int) -> int | None:
    if isinstance(part, int):
        return part
    return int(part) if part.isascii() and part.isdecimal() and len(part) < 10 else None


def _parts(text: str) -> Iterator[str | int | None]:
    """Yield the steps of a path. Each letter is looked at once."""
    position = 0
    while position < len(text):
        if text[position] == "[":
            part, position = _bracket(text, position)
            yield part
            continue
        if text[position] == ".":
            position += 1
        elif position:
            raise PathError(f"A dot is missing in the path {text}, after {text[:position]}.")
        end = min((at for at in (text.find(mark, position) for mark in ".[") if at >= 0), default=len(text))
        key = text[position:end].strip()
        if not key or any(mark in key for mark in "]\"'"):
            raise _unreadable(text, position, 'keys with special characters are written ["a.b"]')
        yield key
        position = end


def _bracket(text: str, start: int) -> tuple[str | int | None, int]:
    """Return the step in brackets that begins at `start`, and where it ends."""
    quote = text[start + 1 : start + 2]
    if quote in {'"', "'"}:
        end = text.find(f"{quote}]", start + 2)
        if end >= 0:
            return text[start + 2 : end], end + 2
    else:
        end = text.find("]", start)
        inside = text[start + 1 : end].strip() if end >= 0 else ""
        if inside == "*":
            return None, end + 1
        if inside.isascii() and inside.removeprefix("-").isdecimal() and len(inside) < 10:
            return int(inside), end + 1
    raise _unreadable(text, start, 'in brackets stands [0], [*] or ["key"]')


def _unreadable(text: str, position: int, hint: str) -> PathError:
    place = f"after {text[:position][:100]}" if position else "at its beginning"
    return PathError(f"The path {text[:100]} cannot be read {place}: {hint}.")


def _folded(value: Any) -> str:
    return text_of(value).strip().casefold()


def _any_text(compare: Callable[[str, str], bool]) -> Operator:
    def apply(values: Values, wanted: Any, work: Work) -> bool:
        text = _folded(wanted)
        return any(compare(value, text) for value in values.texts(work))

    return apply


def _equals(values: Values, wanted: Any, work: Work) -> bool:
    return _folded(wanted) in values.texts(work)


def _is_one_of(values: Values, wanted: Any, work: Work) -> bool:
    work.spend(30 * len(wanted))
    return not {_folded(choice) for choice in wanted}.isdisjoint(values.texts(work))


def _matches(values: Values, wanted: Any, work: Work) -> bool:
    pattern = compile_pattern(wanted)
    return any(pattern.is_in(text, work) for text in (values.plain_texts(work) if values.values else ("",)))


def _exists(values: Values, _wanted: Any, work: Work) -> bool:
    work.spend(10 * len(values.values))
    return any(value is not None for value in values.values)


def _is_empty(values: Values, _wanted: Any, work: Work) -> bool:
    work.spend(30 * len(values.values))
    return all(is_empty(value) for value in values.values)


def _any_number(compare: Callable[[int | float, int | float], bool]) -> Operator:
    def apply(values: Values, wanted: Any, work: Work) -> bool:
        limit = number_of(wanted)
        work.spend(50 * len(values.values))
        numbers = (number_of(value) for value in values.values)
        return limit is not None and any(number is not None and compare(number, limit) for number in numbers)

    return apply


OPERATORS: Final[Mapping[str, Operator]] = {
    "equals": _equals,
    "contains": _any_text(lambda value, wanted: wanted in value),
    "starts_with": _any_text(str.startswith),
    "ends_with": _any_text(str.endswith),
    "matches": _matches,
    "in": _is_one_of,
    "exists": _exists,
    "empty": _is_empty,
    "above": _any_number(lambda number, limit: number > limit),
    "below": _any_number(lambda number, limit: number < limit),
}
