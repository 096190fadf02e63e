"""Templates of the mapping language: Jinja expressions in a closed subset, see docs/mapping.md and decision 61.

Jinja's package only parses. Each node of its tree becomes a function of ours; a node without one is refused when the
template is compiled, which is when it is saved. So no code is generated, and no attribute of a Python object is in
reach.
"""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, cast

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.lexer import TOKEN_OPERATOR, TOKEN_STRING, Lexer
from jinja2.parser import Parser

from integrations.inbound.filters import FILTERS, REQUIRED, TESTS, Filter, RenderError, Run
from integrations.inbound.values import TEXT_LIMIT, cut, json_text, lookup, number_of
from integrations.inbound.work import JSON_COST, OutOfWorkError, Work

__all__ = ["LENGTH_LIMIT", "NAMES", "RenderError", "Template", "TemplateError", "compile_template"]

LENGTH_LIMIT: Final = 2_000
NAMES: Final = ("payload", "headers", "query", "integration", "received_at")
# Nested steps of one expression. Python's own limit is 1,000 calls, of which a step takes up to three.
DEPTH_LIMIT: Final = 100
NESTING_LIMIT: Final = 20
NUMBER_LIMIT: Final = 10**15
# Elements of a list that `in` looks at.
MEMBER_LIMIT: Final = 1_000

# An expression: what it is with the values of a run.
Expression = Callable[[Run], Any]

_METHODS: Final = {"upper": "upper", "lower": "lower", "strip": "trim"}
_ESCAPES: Final = frozenset("\\'\"abfnrtvxNuU\n")


class TemplateError(ValueError):
    """A template cannot be used; the text says what is not allowed and where, for people."""


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled template: texts and expressions in their order."""

    text: str
    parts: tuple[str | Expression, ...]

    @property
    def is_expression(self) -> bool:
        """Whether the template is one expression in braces, with nothing but space around it."""
        return len(self._essence()) == 1 and callable(self._essence()[0])

    def generate(self, context: Mapping[str, Any], *, work: Work | None = None) -> Iterator[str]:
        """Yield the text of each part. Raises RenderError."""
        run = Run(context, work)
        for part in self.parts:
            yield part if isinstance(part, str) else _text(part, run)

    def render(self, context: Mapping[str, Any], *, limit: int, work: Work | None = None) -> str:
        """Return the text with these values, by name; what comes after `limit` characters is not rendered.

        The templates of one event share `work`. Raises RenderError.
        """
        texts: list[str] = []
        length = 0
        for text in self.generate(context, work=work):
            texts.append(text)
            length += len(text)
            if length >= limit:
                break
        return "".join(texts)[:limit]

    def evaluate(self, context: Mapping[str, Any], *, work: Work | None = None) -> Any:
        """Return the value of the only expression, such as a list; None if it is missing.

        Raises RenderError, also if the template is more than one expression.
        """
        if not self.is_expression:
            raise RenderError("Here the template must be one {{ expression }} without text around it.")
        [expression] = self._essence()
        return None if isinstance(expression, str) else _evaluated(expression, Run(context, work))

    def _essence(self) -> list[str | Expression]:
        return [part for part in self.parts if not isinstance(part, str) or part.strip()]


@lru_cache(maxsize=1_000)
def compile_template(text: str) -> Template:
    """Return the compiled template, from a cache if it was compiled before. Raises TemplateError."""
    if not isinstance(text, str):
        raise TemplateError("A template must be a text.")
    if len(text) > LENGTH_LIMIT:
        raise TemplateError(f"A template has at most {LENGTH_LIMIT} characters, this one has {len(text)}.")
    if "{%" in text:
        raise TemplateError("“{% … %}” is not allowed: only {{ expression }} is.")
    _check_characters(text)
    try:
        tree = Parser(_ENVIRONMENT, text).parse()
        return Template(text, tuple(_parts(tree)))
    except TemplateSyntaxError as error:
        raise TemplateError(_at(error.lineno, f"The template cannot be read: {error.message}", text)) from error
    except _Refused as refused:
        raise TemplateError(_at(refused.line, refused.reason, text)) from refused
    except (MemoryError, RecursionError) as error:
        raise TemplateError("The template is nested too deeply.") from error
    except ValueError as error:
        raise TemplateError("The template cannot be read.") from error


class _Refused(Exception):
    """A node of the tree is not allowed."""

    def __init__(self, node: nodes.Node, reason: str) -> None:
        super().__init__(reason)
        self.line = node.lineno
        self.reason = reason


class _Lexer(Lexer):
    """Reads texts in quotes as Python does: a backslash before a letter that it does not change stays, as in "\\d"."""

    def wrap(self, stream: Any, name: str | None = None, filename: str | None = None) -> Any:
        """Yield the tokens with their values."""
        return super().wrap(_prepared(stream), name, filename)


class _Environment(Environment):
    @property
    def lexer(self) -> Lexer:
        return _LEXER


_ENVIRONMENT: Final = _Environment()
_LEXER: Final = _Lexer(_ENVIRONMENT)


def _prepared(stream: Iterable[tuple[int, str, str]]) -> Iterator[tuple[int, str, str]]:
    """Yield the tokens for Jinja's parser, which takes thirteen calls for each bracket. Raises TemplateSyntaxError."""
    nesting = 0
    for line, kind, text in stream:
        if kind == TOKEN_OPERATOR:
            nesting += (text in {"(", "[", "{"}) - (text in {")", "]", "}"})
            if nesting > NESTING_LIMIT:
                raise TemplateSyntaxError(f"more than {NESTING_LIMIT} brackets in each other", line)
        yield line, kind, _doubled(text) if kind == TOKEN_STRING else text


def _doubled(text: str) -> str:
    """Return the text with a second backslash where one stands before a letter that is not an escape."""
    pieces = text.split("\\\\")
    for number, piece in enumerate(pieces):
        first, *others = piece.split("\\")
        pieces[number] = first + "".join(("\\" if other[:1] in _ESCAPES else "\\\\") + other for other in others)
    return "\\\\".join(pieces)


def _at(line: int, reason: str, text: str) -> str:
    reason = reason.rstrip(".") + "."
    return f"Line {line}: {reason}" if "\n" in text else reason


def _check_characters(text: str) -> None:
    """Raise TemplateError if a character is one that PostgreSQL or a page cannot show."""
    for letter in text:
        if (letter < " " and letter not in "\n\r\t") or "\ud800" <= letter <= "\udfff":
            raise TemplateError(f"The character {letter!a} is not allowed. In quotes, write a backslash twice.")


def _parts(tree: nodes.Template) -> Iterator[str | Expression]:
    for output in tree.body:
        if type(output) is not nodes.Output:
            raise _Refused(output, "Only {{ expression }} is allowed")
        for node in output.nodes:
            yield node.data if type(node) is nodes.TemplateData else _compiled(node, 0)


def _text(expression: Expression, run: Run) -> str:
    return cast("str", _evaluated(lambda run: run.text(expression(run)), run))


def _evaluated(expression: Expression, run: Run) -> Any:
    try:
        return expression(run)
    except RenderError:
        raise
    except OutOfWorkError as error:
        raise RenderError(str(error)) from error
    except (ArithmeticError, MemoryError, RecursionError, TypeError, ValueError) as error:
        raise RenderError("The template does not fit the values of this event.") from error


def _compiled(node: nodes.Node, depth: int) -> Expression:
    """Return the function of a node of the tree. Raises _Refused."""
    if depth > DEPTH_LIMIT:
        raise _Refused(node, f"The template is nested too deeply: at most {DEPTH_LIMIT} steps")
    if (compiler := _COMPILERS.get(type(node))) is None:
        raise _Refused(node, _NOT_ALLOWED.get(type(node), f"“{type(node).__name__.lower()}” is not allowed"))
    return compiler(node, depth + 1)


def _name(node: nodes.Name, _depth: int) -> Expression:
    name = node.name
    if name not in NAMES:
        raise _Refused(node, f"“{name}” is not known: a template begins with {', '.join(NAMES)}. Texts need quotes")
    return lambda run: cut(run.values.get(name))


def _constant(node: nodes.Const, _depth: int) -> Expression:
    value = _constant_value(node)
    return lambda _run: value


def _constant_value(node: nodes.Node) -> Any:
    """Return the value of a constant, or of a list of constants. Raises _Refused for another node."""
    if isinstance(node, nodes.List | nodes.Tuple):
        return [_constant_value(item) for item in node.items]
    if isinstance(node, nodes.Neg | nodes.Pos):
        return _signed(node)
    if not isinstance(node, nodes.Const):
        raise _Refused(node, "A list in a template has only texts and numbers, written out")
    value = node.value
    if isinstance(value, str):
        try:
            _check_characters(value)
        except TemplateError as error:
            raise _Refused(node, str(error)) from error
    elif isinstance(value, int | float) and not abs(value) <= NUMBER_LIMIT:
        raise _Refused(node, "A number in a template has at most 15 digits")
    return value


def _signed(node: nodes.Neg | nodes.Pos) -> int | float:
    value = node.node.value if isinstance(node.node, nodes.Const) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Refused(node, _NO_ARITHMETIC)
    return -value if isinstance(node, nodes.Neg) else value


def _attribute(node: nodes.Getattr, depth: int) -> Expression:
    return _looked_up(node, node.node, nodes.Const(node.attr, lineno=node.lineno), depth)


def _item(node: nodes.Getitem, depth: int) -> Expression:
    return _looked_up(node, node.node, node.arg, depth)


def _looked_up(node: nodes.Node, owner: nodes.Node, key_node: nodes.Node, depth: int) -> Expression:
    value = _compiled(owner, depth)
    # Names of headers are in lower case.
    is_header = isinstance(owner, nodes.Name) and owner.name == "headers"
    if not isinstance(key_node, nodes.Const):
        key_of = _compiled(key_node, depth)
        return lambda run: lookup(value(run), _lowered(key_of(run)) if is_header else key_of(run))
    key = _constant_value(key_node)
    if isinstance(key, str) and key.startswith("_"):
        raise _Refused(node, f"“{key}” cannot be read: names that begin with “_” are not allowed")
    if is_header:
        key = _lowered(key)
    return lambda run: lookup(value(run), key)


def _lowered(key: Any) -> Any:
    return key.lower() if isinstance(key, str) else key


def _call(node: nodes.Call, depth: int) -> Expression:
    """Return the filter that a call of a method of texts or objects stands for."""
    method, owner = (node.node.attr, node.node.node) if isinstance(node.node, nodes.Getattr) else ("", node.node)
    if method == "get" and 1 <= len(node.args) <= 2 and not (node.kwargs or node.dyn_args or node.dyn_kwargs):
        value = _looked_up(node, owner, node.args[0], depth)
        default = _compiled(node.args[1], depth) if node.args[1:] else None
        return value if default is None else _or_default(value, default)
    if method in _METHODS and not (node.args or node.kwargs or node.dyn_args or node.dyn_kwargs):
        value = _compiled(owner, depth)
        apply = FILTERS[_METHODS[method]].apply
        return lambda run: apply(run, value(run))
    called = f"{method or getattr(node.node, 'name', '')}(…)"
    raise _Refused(node, f"“{called}” cannot be called: write a filter, as in {{{{ payload.name | upper }}}}")


def _or_default(value: Expression, default: Expression) -> Expression:
    def apply(run: Run) -> Any:
        found = value(run)
        return default(run) if found is None else found

    return apply


def _filter(node: nodes.Filter, depth: int) -> Expression:
    known = FILTERS.get(node.name)
    if known is None or node.node is None:
        raise _Refused(node, f"The filter “{node.name}” is not known: there are {', '.join(FILTERS)}")
    given = _arguments(node, known)
    constants = {}
    for name, argument in given.items():
        if isinstance(argument, nodes.Const | nodes.Neg):
            constants[name] = _constant_value(argument)
    if known.check is not None and (fault := known.check(constants)):
        raise _Refused(node, fault)
    value = _compiled(node.node, depth)
    compiled = {name: _compiled(argument, depth) for name, argument in given.items()}
    return _applied(known.apply, value, [compiled.get(name, default) for name, default in known.parameters.items()])


def _applied(apply: Callable[..., Any], value: Expression, arguments: Sequence[Any]) -> Expression:
    if not arguments:
        return lambda run: apply(run, value(run))
    return lambda run: apply(run, value(run), *[each(run) if callable(each) else each for each in arguments])


def _arguments(node: nodes.Filter, known: Filter) -> dict[str, nodes.Node]:
    """Return the arguments of a filter by name. Raises _Refused if they are not those that it has."""
    given: dict[str, nodes.Node] = dict(zip(known.parameters, node.args, strict=False))
    is_wrong = len(node.args) > len(known.parameters) or node.dyn_args is not None or node.dyn_kwargs is not None
    keywords: Sequence[Any] = node.kwargs  # keywords, though their type says pairs
    for keyword in keywords:
        is_wrong = is_wrong or keyword.key not in known.parameters or keyword.key in given
        given[keyword.key] = keyword.value
    needed = {name for name, default in known.parameters.items() if default is REQUIRED}
    if is_wrong or needed - {*given} or (known.by_name and node.args):
        raise _Refused(node, f"The arguments of “{node.name}” are wrong: write {_usage(node.name, known)}")
    return given


def _usage(name: str, known: Filter) -> str:
    if not known.parameters:
        return f"“{name}” without arguments"
    return f"{name}({', '.join(f'{each}=…' if known.by_name else each for each in known.parameters)})"


def _test(node: nodes.Test, depth: int) -> Expression:
    test = TESTS.get(node.name)
    if test is None or node.args or node.kwargs or node.dyn_args or node.dyn_kwargs:
        raise _Refused(node, f"The test “is {node.name}” is not known: there are {', '.join(TESTS)}")
    value = _compiled(node.node, depth)
    return lambda run: test(value(run))


def _concatenation(node: nodes.Concat, depth: int) -> Expression:
    values = [_compiled(part, depth) for part in node.nodes]

    def apply(run: Run) -> str:
        text = "".join([run.text(value(run)) for value in values])[:TEXT_LIMIT]
        run.spend(len(text))
        return text

    return apply


def _and(node: nodes.And, depth: int) -> Expression:
    left, right = _compiled(node.left, depth), _compiled(node.right, depth)
    return lambda run: left(run) and right(run)


def _or(node: nodes.Or, depth: int) -> Expression:
    left, right = _compiled(node.left, depth), _compiled(node.right, depth)
    return lambda run: left(run) or right(run)


def _not(node: nodes.Not, depth: int) -> Expression:
    value = _compiled(node.node, depth)
    return lambda run: not value(run)


def _condition(node: nodes.CondExpr, depth: int) -> Expression:
    test, value = _compiled(node.test, depth), _compiled(node.expr1, depth)
    otherwise: Expression = (lambda _run: None) if node.expr2 is None else _compiled(node.expr2, depth)
    return lambda run: value(run) if test(run) else otherwise(run)


def _comparison(node: nodes.Compare, depth: int) -> Expression:
    first = _compiled(node.expr, depth)
    rest = [(_OPERATORS[operand.op], _compiled(operand.expr, depth)) for operand in node.ops]

    def apply(run: Run) -> bool:
        left = first(run)
        for compare, expression in rest:
            right = expression(run)
            if not compare(run, left, right):
                return False
            left = right
        return True

    return apply


def _equal(run: Run, left: Any, right: Any) -> bool:
    """Return whether both are the same; of lists and objects the beginnings are compared."""
    if isinstance(left, list | Mapping) or isinstance(right, list | Mapping):
        if type(left) is not type(right):
            return False
        left, right = json_text(left), json_text(right)
        run.spend(JSON_COST * (len(left) + len(right)))
    elif isinstance(left, str):
        run.spend(len(left))
    return bool(left == right)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Run, Any, Any], bool]:
    """Return a comparison of two numbers, also if they are written as texts, or else of two texts."""

    def apply(run: Run, left: Any, right: Any) -> bool:
        run.spend(100)
        numbers = number_of(left), number_of(right)
        if numbers[0] is not None and numbers[1] is not None:
            return compare(*numbers)
        if isinstance(left, str) and isinstance(right, str):
            run.spend(len(left))
            return compare(left, right)
        return False

    return apply


def _is_in(run: Run, part: Any, whole: Any) -> bool:
    if isinstance(whole, list):
        members = whole[:MEMBER_LIMIT]
        run.spend(10 * len(members))
        return any(_equal(run, part, member) for member in members)
    if isinstance(whole, Mapping):
        return lookup(whole, part) is not None
    if not isinstance(whole, str) or part is None:
        return False
    text = run.text(part)
    run.spend(len(whole))
    return text in whole


_OPERATORS: Final[Mapping[str, Callable[[Run, Any, Any], bool]]] = {
    "eq": _equal,
    "ne": lambda run, left, right: not _equal(run, left, right),
    "lt": _ordered(operator.lt),
    "lteq": _ordered(operator.le),
    "gt": _ordered(operator.gt),
    "gteq": _ordered(operator.ge),
    "in": _is_in,
    "notin": lambda run, part, whole: not _is_in(run, part, whole),
}
# The closed subset: a node of another type is refused.
_COMPILERS: Final[Mapping[type[nodes.Node], Callable[[Any, int], Expression]]] = {
    nodes.Name: _name,
    nodes.Const: _constant,
    nodes.Neg: _constant,
    nodes.Pos: _constant,
    nodes.List: _constant,
    nodes.Tuple: _constant,
    nodes.Getattr: _attribute,
    nodes.Getitem: _item,
    nodes.Call: _call,
    nodes.Filter: _filter,
    nodes.Test: _test,
    nodes.Concat: _concatenation,
    nodes.And: _and,
    nodes.Or: _or,
    nodes.Not: _not,
    nodes.CondExpr: _condition,
    nodes.Compare: _comparison,
}
_NO_ARITHMETIC: Final = "Calculating is not allowed. Join texts with “~”"
_NOT_ALLOWED: Final[Mapping[type[nodes.Node], str]] = {
    **dict.fromkeys((nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Pow), _NO_ARITHMETIC),
    nodes.Slice: "A part such as [1:3] is not allowed: use “first”, “last”, “truncate” or “regex”",
    nodes.Dict: "An object in braces is not allowed",
}
