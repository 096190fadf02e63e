"""Reads environment variables, and the `.env` file as docker compose does; needs only the standard library.

The rules are those of https://docs.docker.com/compose/how-tos/environment-variables/variable-interpolation/.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

_NAME = re.compile(r"(?:export[ \t]+)?([^\W\d][\w.-]*)[ \t]*", flags=re.ASCII)
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", '"': '"', "\\": "\\"}
_VARIABLE = re.compile(r"[_a-z][_a-z0-9]*", flags=re.IGNORECASE | re.ASCII)
_DEFAULTS = (":-", "-", ":?", "?", ":+", "+")
_OTHERS = {"DATABASE_PASSWORD", "DATABASE_URL", "EMAIL_URL", "REDIS_URL", "SECRET_KEY", "SECRET_KEY_FALLBACKS"}
_OWNERS_SECRETS = {"HEARTBEAT_OWNER_PASSWORD", "HEARTBEAT_OWNER_API_KEY"}

# The values of a variable that mean true.
TRUE = ("1", "true", "yes", "on", "y", "t")
# Scheme of EMAIL_URL -> default port.
MAIL_PORTS = {"smtp": 25, "smtp+tls": 587, "smtps": 587, "smtp+ssl": 465}
# The path of HEARTBEAT_BASE_URL: letters that browsers and proxies all write alike, and no `.` or `..`.
_BASE_PATH = re.compile(r"(/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)*/?")


class VariableError(ValueError):
    """A variable cannot be read; the message is one sentence for people."""


def is_ours(name: str) -> bool:
    """Return whether Heartbeat reads this variable, or the file that it names."""
    target = name.removesuffix("_FILE")
    return target.startswith("HEARTBEAT_") or target in _OTHERS


def without_owners_secrets(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables without the secrets that only the first start needs."""
    return {name: value for name, value in variables.items() if name.removesuffix("_FILE") not in _OWNERS_SECRETS}


def resolved_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are not empty; an unset one of ours is read from the file that NAME_FILE names.

    Raises VariableError if that file cannot be read.
    """
    resolved = {name: value for name, value in variables.items() if value}
    for name, path in list(resolved.items()):
        target = name.removesuffix("_FILE")
        if target != name and is_ours(name) and target not in resolved:
            try:
                resolved[target] = Path(path).read_text("utf-8").strip()
            except (OSError, ValueError) as error:
                raise VariableError(f"{name} names the file {path}, which cannot be read: {_reason(error)}.") from None
    return resolved


def read_env_file(
    path: Path, environ: Mapping[str, str] | None = None, *, warn: Callable[[str], None] = lambda _: None
) -> dict[str, str]:
    """Return the variables of an env file that are not empty; none when there is no file.

    `$NAME` has the value in `environ`, else the value from further up in the file; `warn` is called with a sentence for
    each name that neither has. Raises VariableError, with the line, for text that compose refuses.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (FileNotFoundError, IsADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise VariableError(f"{path} cannot be read: {_reason(error)}.") from None
    return {name: value for name, value in _Reader(path, text, environ or {}, warn).values().items() if value}


def base_url_error(url: str) -> str | None:
    """Return a sentence if links cannot begin with this HEARTBEAT_BASE_URL because of what follows its host."""
    parts = urlsplit(url)
    if not parts.query and not parts.fragment and _BASE_PATH.fullmatch(parts.path):
        return None
    return (
        "HEARTBEAT_BASE_URL may end with a path of letters, digits, and - . _ ~ between slashes, such as "
        f"https://example.org/heartbeat, not with {url.partition(parts.netloc)[2]!r}."
    )


class _Reader:
    """One pass over the text of an env file."""

    def __init__(self, path: Path, text: str, environ: Mapping[str, str], warn: Callable[[str], None]) -> None:
        self._path, self._environ, self._warn = path, environ, warn
        self._text = text.replace("\r\n", "\n")
        self._at = 0
        self._values: dict[str, str] = {}

    def values(self) -> dict[str, str]:
        while True:
            self._take(r"(?:\s|#[^\n]*)*")
            if self._at == len(self._text):
                return self._values
            name = _NAME.match(self._text, self._at)
            if name is None:
                raise self._error("write NAME=value or a comment")
            self._at = name.end()
            if self._take(r"[=:][ \t]*"):
                self._values[name[1]] = self._value()
            elif self._text[self._at : self._at + 1] not in {"", "\n"}:
                raise self._error(f"write = after {name[1]}")
            elif name[1] in self._environ:  # a name without value takes the value of the environment
                self._values[name[1]] = self._environ[name[1]]

    def _value(self) -> str:
        quote = self._text[self._at : self._at + 1]
        if quote not in {"'", '"'}:
            raw = self._take(r"[^\n]*")
            return self._expanded(raw.partition(" #")[0].rstrip())
        quoted = re.compile(rf"{quote}((?:\\.|[^{quote}\\])*){quote}", flags=re.DOTALL).match(self._text, self._at)
        if quoted is None:
            raise self._error(f"a value that begins with {quote} must end with it")
        self._at = quoted.end()
        if quote == "'":
            return quoted[1].replace("\\'", "'")
        unescaped = re.sub(r'\\(\$|[abfnrtv"\\]|0[0-7]{0,3})', _unescaped, quoted[1])
        return self._expanded(unescaped)

    def _expanded(self, text: str) -> str:
        """Return `text` with its variables replaced; `$$` is a dollar sign."""
        result, at = "", 0
        while (dollar := text.find("$", at)) >= 0:
            result, at = result + text[at:dollar], dollar + 1
            if text[at : at + 1] == "$":
                result, at = result + "$", at + 1
            elif name := _VARIABLE.match(text, at):
                result, at = result + self._lookup(name[0]), name.end()
            elif text[at : at + 1] == "{" and (end := _closing_brace(text, at)):
                result, at = result + self._braced(text[at + 1 : end]), end + 1
            else:
                raise self._error("write $$ for a dollar sign, or put the value in single quotes")
        return result + text[at:]

    def _braced(self, inner: str) -> str:
        name = _VARIABLE.match(inner)
        operator = next((item for item in _DEFAULTS if name and inner.startswith(item, name.end())), "")
        if name is None or (not operator and name.end() != len(inner)):
            raise self._error(f"${{{inner}}} is not a variable")
        operand = inner[name.end() + len(operator) :]
        value = self._environ.get(name[0], self._values.get(name[0]))
        is_set = bool(value) if operator.startswith(":") else value is not None
        if operator.endswith("?") and not is_set:
            raise self._error(f"{name[0]} is missing ({self._expanded(operand)})")
        if operator.endswith("+"):
            return self._expanded(operand) if is_set else ""
        if operator.endswith("-") and not is_set:
            return self._expanded(operand)
        return self._lookup(name[0])

    def _lookup(self, name: str) -> str:
        value = self._environ.get(name, self._values.get(name))
        if value is None:
            self._warn(
                f"{self._path}, line {self._line()}: the variable {name} is not set and counts as empty. "
                "Write $$ for a dollar sign."
            )
        return value or ""

    def _take(self, pattern: str) -> str:
        match = re.compile(pattern).match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match[0]

    def _line(self) -> int:
        return self._text.count("\n", 0, self._at) + 1

    def _error(self, problem: str) -> VariableError:
        return VariableError(f"{self._path}, line {self._line()}: {problem}.")


def _reason(error: Exception) -> str:
    return str(error.strerror) if isinstance(error, OSError) else "it is not text in UTF-8"


def _unescaped(match: re.Match[str]) -> str:
    code = match[1]
    if code == "$":
        return "$$"
    return _ESCAPES.get(code) or chr(int(code[1:] or "0", 8))


def _closing_brace(text: str, at: int) -> int:
    """Return the position of the brace that closes the one at `at`; 0 if there is none."""
    depth = 0
    for position in range(at, len(text)):
        depth += (text[position] == "{") - (text[position] == "}")
        if depth == 0:
            return position
    return 0
