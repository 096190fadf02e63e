"""Templates: what they look up, how values become text, and what the page does not show."""

import json
import warnings
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType

import pytest

from integrations.inbound.templates import RenderError, TemplateError, compile_template
from integrations.inbound.work import Work

LONG = 20_000


def rendered(template, payload=None, *, limit=100_000, **context):
    return compile_template(template).render({"payload": payload, **context}, limit=limit)


def refusal(template):
    with pytest.raises(TemplateError) as refused:
        compile_template(template)
    return str(refused.value)


@pytest.mark.parametrize("key", ["values", "items", "keys", "get", "pop", "copy", "format", "mro", "upper", "strip"])
def test_a_name_of_a_python_method_is_a_key(key):
    assert rendered(f"{{{{ payload.{key} }}}}", {key: "the key"}) == "the key"
    assert rendered(f"[{{{{ payload.{key} }}}}]", {}) == "[]"
    assert rendered(f"[{{{{ payload.text.{key} }}}}]", {"text": "a text"}) == "[]"


@pytest.mark.parametrize(
    ("template", "payload", "text"),
    [
        ("{{ payload }}", "only text", "only text"),
        ("{{ payload[0] }}", ["first"], "first"),
        ("{{ payload[1] }}", ["first"], ""),
        ("{{ payload[-2] }}", ["first"], ""),
        ("{{ payload.0.a }}", [{"a": 1}], "1"),
        ("{{ payload['0'] }}", ["first"], "first"),
        ("{{ payload[0] }}", {"0": "a key"}, "a key"),
        ("{{ payload[true] }}", ["a", "b"], ""),
        ("{{ payload[1.5] }}", ["a", "b"], ""),
        ("{{ payload[payload.key] }}", {"key": "other", "other": "found"}, "found"),
        ("{{ payload[payload.key] }}", {"key": "_other", "_other": "found"}, ""),
        ("{{ payload[payload] }}", {"a": 1}, ""),
        ("{{ payload.text[0] }}", {"text": "abc"}, ""),
        ("{{ payload.a }}", {"a": None}, ""),
        ("{{ payload.a }}", {"a": 1.0}, "1.0"),
        ("{{ payload.a }}", {"a": [1, None, [2, {"b": 3}], {"c": "ü"}]}, '1, , [2, {"b": 3}], {"c": "ü"}'),
        ("{{ payload.a or payload.b }}", {"a": [], "b": [1]}, "1"),
        ("{{ payload.a and payload.b }}", {"a": 0, "b": 1}, "0"),
        ("{{ 'no' if payload.a }}", {}, ""),
        ("{{ -1 }}{{ +2.5 }}{{ none }}{{ None }}{{ true }}{{ False }}", None, "-12.5truefalse"),
        ("{{ payload.get('a') }}", {"a": 1}, "1"),
        ("{{ payload.get('a', 'b') }}", {"a": None}, "b"),
        ("{{ payload.get('a').get('b') }}", {"a": {"b": "deep"}}, "deep"),
        ("{{ payload.get(0) }}", ["first"], "first"),
        ("{{ 'a' 'b' }}", None, "ab"),
        ("a {#- a comment -#} b", None, "ab"),
        ("a\n{{- ' b' }}", None, "a b"),
        ("{ payload } }} %}", None, "{ payload } }} %}"),
    ],
)
def test_a_value_is_looked_up_and_becomes_text(template, payload, text):
    assert rendered(template, payload) == text


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("payload.n == 5", True),
        ("payload.n == 5.0", True),
        ("payload.t == 5", False),
        ("payload.t > 4", True),
        ("payload.t < '40'", True),
        ("'b' > 'a'", True),
        ("'b' > 4", False),
        ("payload.none < 4", False),
        ("payload.none == none", True),
        ("payload.none != 'a'", True),
        ("1 < payload.n <= 5", True),
        ("1 < payload.n < 5", False),
        ("payload.list == ['a', 'b']", True),
        ("payload.list == payload.object", False),
        ("payload.object == payload.object", True),
        ("payload.list != payload.object", True),
        ("'a' in payload.list", True),
        ("'c' not in payload.list", True),
        ("'k' in payload.object", True),
        ("5 in payload.t", True),
        ("none in 'none'", False),
        ("'a' in payload.n", False),
        ("payload.n in (4, 5)", True),
        ("not payload.none", True),
        ("payload.n is number and payload.t is not number", True),
    ],
)
def test_a_comparison(expression, result):
    payload = {"n": 5, "t": "5", "list": ["a", "b"], "object": {"k": [1]}}

    assert compile_template(f"{{{{ {expression} }}}}").evaluate({"payload": payload}) is result


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("payload.none | upper | trim", ""),
        ("payload.none | length", 0),
        ("payload.n | length", None),
        ("payload.text | first", "a"),
        ("payload.text | last", "c"),
        ("payload.object | first", None),
        ("payload.none | map(attribute='a')", []),
        ("payload.rows | map(attribute='b')", [None, 2]),
        ("payload.rows | join('-', attribute='b')", "-2"),
        ("payload.rows | join(attribute='b')", "2"),
        ("payload.text | join('-')", "abc"),
        ("payload.none | default(value=7)", 7),
        ("payload.blank | default('x', true)", "x"),
        ("false | default('x')", False),
        ("0 | default('x')", 0),
        ("payload.text | replace(payload.none, 'x')", "abc"),
        ("payload.text | replace(needle='a', with='x')", "xbc"),
        ("payload.text | split(payload.none)", ["abc"]),
        ("payload.text | regex('x')", None),
        ("payload.text | regex('(x)?abc')", None),
        ("payload.text | regex('b.')", "bc"),
        ("payload.text | truncate", "abc"),
        ("payload.text | truncate(1)", "…"),
        ("payload.text | truncate(payload.none)", ""),
        ("payload.text | json", None),
        ("'[1, 2]' | json", [1, 2]),
        ("payload.rows | json", [{"a": 1}, {"b": 2}]),
        ("payload.n | round", 3),
        ("payload.n | round(payload.none)", 3),
        ("payload.text | round", None),
        ("'12.9' | int", 12),
        ("'1e400' | int", None),
        ("'1_000' | int", None),
        ("true | int", None),
        ("'ß' | upper", "SS"),
    ],
)
def test_a_filter_with_values_that_do_not_fit(expression, result):
    payload = {"n": 2.51, "text": "abc", "object": {"a": 1}, "rows": [{"a": 1}, {"b": 2}], "blank": "  "}

    assert compile_template(f"{{{{ {expression} }}}}").evaluate({"payload": payload}) == result


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("2026-11-27T02:30:00Z", "2026-11-27 02:30:00"),
        ("2026-11-27T02:30:00.123456+02:00", "2026-11-27 00:30:00"),
        ("2026-11-27 02:30", "2026-11-27 02:30:00"),
        (1_795_746_600, "2026-11-27 02:30:00"),
        ("1795746600", "2026-11-27 02:30:00"),
        (1_795_746_600_000, "2026-11-27 02:30:00"),
        (1_795_746_600_000_000_000, "2026-11-27 02:30:00"),
        (datetime(2026, 11, 27, 4, 30, tzinfo=timezone(timedelta(hours=2))), "2026-11-27 02:30:00"),
        ("0001-01-01T00:00:00Z", ""),
        ("0001-01-01T00:00:00+05:00", ""),
        (-(10**30), ""),
        (10**30, ""),
        ("yesterday", ""),
        ([], ""),
        (None, ""),
    ],
)
def test_a_time_is_written_in_utc(value, text):
    assert rendered("{{ payload | date }}", value) == text


def test_received_at_is_written_as_iso_8601():
    now = datetime(2026, 11, 27, 2, 30, tzinfo=UTC)

    assert rendered("{{ received_at }} {{ received_at | date('%H:%M %%') }}", received_at=now) == (
        "2026-11-27T02:30:00+00:00 02:30 %"
    )


def test_headers_are_found_whatever_their_capitals_and_any_mapping_is_an_object():
    headers = MappingProxyType({"x-source": "rack"})

    for template in ("headers['X-Source']", "headers.get('X-SOURCE')", "headers[payload]"):
        assert rendered(f"{{{{ {template} }}}}", "X-source", headers=headers) == "rack"
    assert rendered("{{ headers }}", headers=headers) == '{"x-source": "rack"}'


def test_a_backslash_before_a_letter_stays_and_gives_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rendered(r"{{ payload | regex('(\d+)\.\w') }}", "a 12.x") == "12"
        assert rendered(r"{{ payload | regex('\\d\\.') }}", "a 12.x") == "2."
        assert rendered(r"{{ '\t\x41\u00fc\'\1' }}") == "\tAü'\\1"


def test_rendering_stops_at_the_limit_and_later_parts_are_not_looked_at():
    class Watched(dict):
        asked = []

        def get(self, key, default=None):
            self.asked.append(key)
            return super().get(key, default)

    payload = Watched(a="x" * 30, b="never")

    assert rendered("{{ payload.a }}{{ payload.b }}", payload, limit=20) == "x" * 20
    assert payload.asked == ["a"]


def test_the_value_of_one_expression_is_kept_as_it_is():
    payload = {"alerts": [{"a": 1}] * 300}

    assert compile_template(" {{ payload.alerts }}\n").evaluate({"payload": payload}) is payload["alerts"]
    assert compile_template("{{ payload.none }}").evaluate({"payload": payload}) is None


@pytest.mark.parametrize("template", ["", "text", "{{ payload }}x", "{{ payload }}{{ payload }}"])
def test_the_value_of_anything_else_is_refused(template):
    assert not compile_template(template).is_expression
    with pytest.raises(RenderError, match="must be one"):
        compile_template(template).evaluate({})


def test_what_can_be_saved_can_be_rendered_however_deep_the_stack_is():
    def below(frames, template):
        if frames:
            return below(frames - 1, template)
        compile_template.cache_clear()
        return rendered(template)

    for template in ("{{ " + "(" * 20 + "1" + ")" * 20 + " }}", "{{ 1" + "|trim" * 99 + " }}"):
        assert below(300, template) == "1"


def test_a_compiled_template_is_kept():
    assert compile_template("{{ payload.kept }}") is compile_template("{{ payload.kept }}")


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("x" * 2_001, "A template has at most 2000 characters, this one has 2001."),
        (5, "A template must be a text."),
        ("{{ payload", "The template cannot be read: unexpected end of template"),
        ("{{ }}", "The template cannot be read: Expected an expression"),
        ("{# open", "The template cannot be read: Missing end of comment tag."),
        ("a\nb {{ self }}", "Line 2: “self” is not known"),
        ("{{ payload.get('_id') }}", "“_id” cannot be read"),
        ("{{ payload | map(attribute='a._b') }}", "A name that begins with “_” cannot be read."),
        ("{{ payload | join(', ', '__class__') }}", "A name that begins with “_” cannot be read."),
        ("{{ payload | nofilter }}", "The filter “nofilter” is not known: there are default, lower"),
        ("{{ payload is callable }}", "The test “is callable” is not known: there are defined"),
        ("{{ payload is defined(1) }}", "The test “is defined” is not known"),
        ("{{ payload | upper(1) }}", "The arguments of “upper” are wrong: write “upper” without arguments."),
        ("{{ payload | replace('a') }}", "The arguments of “replace” are wrong: write replace(needle, with)."),
        ("{{ payload | replace('a', 'b', 1) }}", "The arguments of “replace” are wrong"),
        ("{{ payload | replace('a', needle='b') }}", "The arguments of “replace” are wrong"),
        ("{{ payload | join(*payload) }}", "The arguments of “join” are wrong"),
        ("{{ payload | join(**payload) }}", "The arguments of “join” are wrong"),
        ("{{ payload | replace('', 'x') }}", "The text that “replace” looks for must not be empty."),
        ("{{ payload | split('') }}", "The separator of “split” must not be empty."),
        ("{{ payload" + "|trim" * 101 + " }}", "The template is nested too deeply: at most 100 steps."),
        (
            "{{ " + "(" * 21 + "1" + ")" * 21 + " }}",
            "The template cannot be read: more than 20 brackets in each other.",
        ),
        ("{{ " + "[" * 900 + " }}", "The template cannot be read: more than 20 brackets in each other."),
        ("{{ payload | join('" + "-" * 21 + "') }}", "The separator of “join” has at most 20 characters."),
        ("{{ payload | truncate(0) }}", "The length of “truncate” is a number from 1 to 20000."),
        ("{{ payload | truncate('x') }}", "The length of “truncate” is a number from 1 to 20000."),
        ("{{ payload | date('%1000000Y') }}", "“date” does not know “%1”"),
        ("{{ payload | date('%') }}", "“date” does not know “%”"),
        ("{{ payload | date('%%%') }}", "“date” does not know “%”"),
        ("{{ payload | regex(payload) }}", "The regular expression of “regex” must be written out"),
        ("{{ payload | regex('(?=a)') }}", "RE2 has no look-around and no back-references"),
        ("{{ payload | regex('((a{30}){30}){30}') }}", "The regular expression “((a{30}){30}){30}”"),
        ("{{ payload | regex('" + "a" * 501 + "') }}", "A regular expression has at most 500 characters"),
        (
            "{{ payload | regex('\\bword') }}",
            "The character '\\x08' is not allowed. In quotes, write a backslash twice.",
        ),
        ("{{ '\\ud800' }}", "The character '\\ud800' is not allowed"),
        ("\0", "The character '\\x00' is not allowed"),
        ("\ud800", "The character '\\ud800' is not allowed"),
        ("{{ '\\x0' }}", "The template cannot be read: truncated \\xXX escape."),
        ("{{ 1234567890123456 }}", "A number in a template has at most 15 digits."),
        ("{{ 1e999 }}", "A number in a template has at most 15 digits."),
        ("{{ " + "9" * 1_900 + " }}", "A number in a template has at most 15 digits."),
        ("{{ -'5' }}", "Calculating is not allowed."),
        ("{{ -payload }}", "Calculating is not allowed."),
        ("{{ [payload] }}", "A list in a template has only texts and numbers, written out."),
        ("{{ payload, query }}", "A list in a template has only texts and numbers, written out."),
        ("{{ {'a': 1} }}", "An object in braces is not allowed."),
        ("{{ payload.x == {} }}", "An object in braces is not allowed."),
        ("{{ payload[1, 2] }}", ""),
    ],
)
def test_a_refusal_says_what_is_not_allowed(template, sentence):
    if sentence:
        assert sentence in refusal(template)
    else:
        assert rendered(template, {"a": 1}) == ""


@pytest.mark.parametrize(
    ("expression", "length"),
    [
        ("payload.long", LONG),
        ("payload.long ~ payload.long ~ payload.long", LONG),
        ("payload.long | upper", LONG),
        ("payload.long | title", LONG),
        ("payload.many | join('--------------------')", 100 + 99 * 20),
        ("payload.many | join(payload.long)", 100 + 99 * 20),
        ("payload.texts | join", LONG),
        ("payload.texts", LONG),
        ("payload.all", LONG),
        ("payload.all | tojson", LONG),
        ("payload.long | replace('x', payload.long)", LONG),
        ("payload.long | replace('x', 'yy')", LONG),
        ("payload.long | regex('x+')", LONG),
        ("payload.long | truncate(19000)", 19_000),
        ("payload.long | first", 1),
    ],
)
def test_each_text_that_is_made_has_an_end(expression, length):
    long = "x" * 500_000
    payload = {"long": long, "texts": [long] * 3, "many": ["x"] * 100_000, "all": {"a": [1] * 100_000, "b": long}}

    assert len(compile_template(f"{{{{ {expression} }}}}").evaluate({"payload": payload}) or "") <= LONG
    assert len(rendered(f"{{{{ {expression} }}}}", payload)) == length


def test_lists_that_filters_make_have_an_end():
    payload = {"many": [{"a": 1}] * 100_000, "words": "a " * 9_000}

    assert len(compile_template("{{ payload.many | map(attribute='a') }}").evaluate({"payload": payload})) == 200
    assert len(compile_template("{{ payload.words | split(' ') }}").evaluate({"payload": payload})) == 100


def test_in_looks_at_the_first_thousand_elements():
    payload = {"many": list(range(2_000))}

    assert compile_template("{{ 999 in payload.many }}").evaluate({"payload": payload}) is True
    assert compile_template("{{ 1000 in payload.many }}").evaluate({"payload": payload}) is False


def test_json_in_a_text_is_cleaned():
    text = (
        r'{"\u0000": "a\ud800", "n": NaN, "e": 1e999, "big": ' + "9" * 1_000 + ', "deep": ' + "[" * 90 + "]" * 90 + "}"
    )
    value = compile_template("{{ payload | json }}").evaluate({"payload": text})

    assert json.dumps(value.pop("deep")).count("[") == 63
    assert value.pop("\ufffd").rstrip("\ufffd") == "a"
    assert value == {"n": "NaN", "e": "1e999", "big": "9" * 1_000}
    assert compile_template("{{ payload | json }}").evaluate({"payload": "[" * 20_000}) is None


def test_templates_of_one_event_share_its_work():
    work = Work(30_000)
    template = compile_template("{{ payload }}")

    assert len(template.render({"payload": "x" * LONG}, limit=LONG, work=work)) == LONG
    with pytest.raises(RenderError, match="too much work with this event"):
        template.render({"payload": "x" * LONG}, limit=LONG, work=work)


def test_a_template_of_full_length_with_costly_filters_ends():
    template = "{{ " + " ~ ".join(["(payload|tojson|length)"] * 76) + " }}"

    with pytest.raises(RenderError, match="too much work with this event"):
        rendered(template, {"a": list(range(100_000))})
