"""The filters and tests of the mapping language. Each takes and returns bounded values; docs/mapping.md lists them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from integrations.inbound.patterns import PatternError, compile_pattern
from integrations.inbound.values import (
    LIST_LIMIT,
    TEXT_LIMIT,
    is_empty,
    joined,
    json_text,
    json_value,
    lookup,
    number_of,
    text_of,
)
from integrations.inbound.work import JSON_COST, TEMPLATE_LIMIT, Work

SEPARATOR_LIMIT: Final = 20
# Elements of a list that `map` returns: as many as an event is split into.
MAP_LIMIT: Final = 200

_DIRECTIVES: Final = frozenset("YmdHMSyBbAajpIfzZ%")
_FORMAT: Final = "%Y-%m-%d %H:%M:%S"
_FORMAT_LIMIT: Final = 50
# Later numbers are milliseconds, and still later ones nanoseconds: 10^11 seconds are the year 5138.
_MILLISECONDS: Final = 10**11
_NANOSECONDS: Final = 10**16


class RenderError(ValueError):
    """A template could not be rendered with these values; the text says why, for people."""


class Run:
    """One rendering: the values that names stand for, and what may still be spent."""

    __slots__ = ("values", "work")

    def __init__(self, values: Mapping[str, Any], work: Work | None) -> None:
        self.values = values
        self.work = Work(TEMPLATE_LIMIT, whole=work)

    def spend(self, units: int) -> None:
        """Take the units from what is left. Raises OutOfWorkError if nothing is left."""
        self.work.spend(units)

    def text(self, value: Any) -> str:
        """Return the value's text, paid for."""
        text = text_of(value)
        self.work.spend(30 + len(text) * (1 if isinstance(value, str) else JSON_COST))
        return text


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter: its function, called with run, value and all arguments, and the defaults of those by name.

    `check` gets the arguments that are constants, and returns what is wrong with them, "" if nothing is. If `by_name`,
    the arguments must be named.
    """

    apply: Callable[..., Any]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    check: Callable[[Mapping[str, Any]], str] | None = None
    by_name: bool = False


def _default(_run: Run, value: Any, instead: Any, _boolean: Any) -> Any:
    return instead if is_empty(value) else value


def _lower(run: Run, value: Any) -> str:
    return run.text(value).lower()[:TEXT_LIMIT]


def _upper(run: Run, value: Any) -> str:
    return run.text(value).upper()[:TEXT_LIMIT]


def _title(run: Run, value: Any) -> str:
    return run.text(value).title()[:TEXT_LIMIT]


def _trim(run: Run, value: Any) -> str:
    return run.text(value).strip()


def _first(run: Run, value: Any) -> Any:
    run.spend(1)
    return value[:1] if isinstance(value, str) else lookup(value if isinstance(value, list) else None, 0)


def _last(run: Run, value: Any) -> Any:
    run.spend(1)
    return value[-1:] if isinstance(value, str) else lookup(value if isinstance(value, list) else None, -1)


def _length(run: Run, value: Any) -> int | None:
    run.spend(1)
    if value is None:
        return 0
    return len(value) if isinstance(value, str | list | Mapping) else None


def _join(run: Run, value: Any, separator: Any, attribute: Any) -> str:
    elements = value if attribute is None else _map(run, value, attribute)
    if not isinstance(elements, list):
        return run.text(elements)
    text = joined(elements, run.text(separator)[:SEPARATOR_LIMIT])
    run.spend(JSON_COST * len(text) + 30 * min(len(elements), LIST_LIMIT))
    return text


def _map(run: Run, value: Any, attribute: Any) -> list[Any]:
    if not isinstance(value, list):
        return []
    keys = run.text(attribute).split(".")
    elements = value[:MAP_LIMIT]
    run.spend(len(elements) * len(keys) * 30)
    for key in keys:
        elements = [lookup(element, key) for element in elements]
    return elements


def _truncate(run: Run, value: Any, length: Any, end: Any) -> str:
    text, size, mark = run.text(value), _small(length, TEXT_LIMIT), run.text(end)[:SEPARATOR_LIMIT]
    if len(text) <= size:
        return text
    return (text[: max(0, size - len(mark))].rstrip() + mark)[:size]


def _replace(run: Run, value: Any, needle: Any, new: Any) -> str:
    text, needle, new = run.text(value), run.text(needle), run.text(new)
    if not needle:
        return text
    # As many as a result of full length can have, so that no longer one is made.
    count = TEXT_LIMIT // max(1, len(new)) + 1
    result = text.replace(needle, new, count)
    run.spend(len(result))
    return result[:TEXT_LIMIT]


def _split(run: Run, value: Any, separator: Any) -> list[str]:
    text = run.text(value)
    return text.split(run.text(separator) or None, LIST_LIMIT)[:LIST_LIMIT]


def _regex(run: Run, value: Any, pattern: Any) -> str | None:
    text = run.text(value)
    try:
        compiled = compile_pattern(pattern, is_capturing=True)
    except PatternError as error:
        raise RenderError(str(error)) from error
    return compiled.part_of(text, run.work)


def _json(run: Run, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    run.spend(JSON_COST * len(value))
    return json_value(value)


def _tojson(run: Run, value: Any) -> str:
    text = json_text(value)
    run.spend(100 + JSON_COST * len(text))
    return text


def _date(run: Run, value: Any, pattern: Any) -> str | None:
    run.spend(100)
    moment = _moment(value)
    pattern = run.text(pattern)
    if moment is None or _check_date({"format": pattern}):
        return None
    return moment.strftime(pattern)


def _round(run: Run, value: Any, precision: Any) -> int | float | None:
    run.spend(10)
    number = number_of(value)
    digits = _small(precision, 10)
    return None if number is None else round(number, digits) if digits else round(number)


def _int(run: Run, value: Any, default: Any) -> Any:
    run.spend(10)
    number = number_of(value)
    return default if number is None else int(number)


def _small(value: Any, most: int) -> int:
    number = number_of(value)
    return 0 if number is None else int(max(0, min(number, most)))


def _moment(value: Any) -> datetime | None:
    """Return the moment that an ISO 8601 text or a number of seconds or milliseconds says, in UTC."""
    try:
        if isinstance(value, datetime):
            moment = value
        elif (number := number_of(value)) is not None:
            number /= 1 if abs(number) < _MILLISECONDS else 1_000 if abs(number) < _NANOSECONDS else 10**9
            moment = datetime.fromtimestamp(number, UTC)
        elif isinstance(value, str):
            moment = datetime.fromisoformat(value[:_FORMAT_LIMIT].strip())
        else:
            return None
        moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ArithmeticError, OSError, ValueError):
        return None
    return moment if moment.year > 1 else None


def _check_join(constants: Mapping[str, Any]) -> str:
    if len(text_of(constants.get("separator"))) > SEPARATOR_LIMIT:
        return f"The separator of “join” has at most {SEPARATOR_LIMIT} characters."
    return _check_attribute(constants)


def _check_attribute(constants: Mapping[str, Any]) -> str:
    if any(key.startswith("_") for key in text_of(constants.get("attribute")).split(".")):
        return "A name that begins with “_” cannot be read."
    return ""


def _check_replace(constants: Mapping[str, Any]) -> str:
    return "The text that “replace” looks for must not be empty." if constants.get("needle", "x") in ("", None) else ""


def _check_split(constants: Mapping[str, Any]) -> str:
    return "The separator of “split” must not be empty." if constants.get("separator", "x") == "" else ""


def _check_regex(constants: Mapping[str, Any]) -> str:
    if "pattern" not in constants:
        return "The regular expression of “regex” must be written out, as a text in quotes."
    try:
        compile_pattern(constants["pattern"], is_capturing=True)
    except PatternError as error:
        return str(error)
    return ""


def _check_date(constants: Mapping[str, Any]) -> str:
    format_ = text_of(constants.get("format"))
    if len(format_) > _FORMAT_LIMIT:
        return f"The format of “date” has at most {_FORMAT_LIMIT} characters."
    for directive in format_.replace("%%", "").split("%")[1:]:
        if directive[:1] not in _DIRECTIVES or not directive:
            return f"“date” does not know “%{directive[:1]}”: use %Y %m %d %H %M %S and the like."
    return ""


def _check_truncate(constants: Mapping[str, Any]) -> str:
    if not 1 <= (number_of(constants.get("length", 1)) or 0) <= TEXT_LIMIT:
        return f"The length of “truncate” is a number from 1 to {TEXT_LIMIT}."
    return ""


# Stands for the default of an argument that must be given.
REQUIRED: Final = object()

FILTERS: Final[Mapping[str, Filter]] = {
    "default": Filter(_default, {"value": REQUIRED, "boolean": None}),
    "lower": Filter(_lower),
    "upper": Filter(_upper),
    "title": Filter(_title),
    "trim": Filter(_trim),
    "first": Filter(_first),
    "last": Filter(_last),
    "length": Filter(_length),
    "join": Filter(_join, {"separator": "", "attribute": None}, _check_join),
    "map": Filter(_map, {"attribute": REQUIRED}, _check_attribute, by_name=True),
    "truncate": Filter(_truncate, {"length": 255, "end": "…"}, _check_truncate),
    "replace": Filter(_replace, {"needle": REQUIRED, "with": REQUIRED}, _check_replace),
    "split": Filter(_split, {"separator": None}, _check_split),
    "regex": Filter(_regex, {"pattern": REQUIRED}, _check_regex),
    "json": Filter(_json),
    "tojson": Filter(_tojson),
    "date": Filter(_date, {"format": _FORMAT}, _check_date),
    "round": Filter(_round, {"precision": 0}),
    "int": Filter(_int, {"default": None}),
}

TESTS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "defined": lambda value: value is not None,
    "undefined": lambda value: value is None,
    "none": lambda value: value is None,
    "empty": is_empty,
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "mapping": lambda value: isinstance(value, Mapping),
    "sequence": lambda value: isinstance(value, list | str),
}
