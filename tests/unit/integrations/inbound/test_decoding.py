"""How the bytes of an event become a value, whatever their sender calls them."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from integrations.inbound.clean_values import MAX_DEPTH, MAX_ELEMENTS, MAX_KEYS
from integrations.inbound.content_encodings import MAX_BYTES
from integrations.inbound.decoding import TooLarge, decode, external_id

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=xyz"


def read(body, kind=None, query=None):
    body = body.encode() if isinstance(body, str) else body
    return decode(body, headers={} if kind is None else {"content-type": kind}, query=query or {})


def payload(*arguments, **more):
    decoded = read(*arguments, **more)
    assert decoded.fault == ""
    return decoded.payload


def multipart(*parts, boundary="xyz", newline="\r\n"):
    lines = [line for head, text in parts for line in (f"--{boundary}", f"Content-Disposition: {head}", "", text)]
    return newline.join([*lines, f"--{boundary}--", ""])


@pytest.mark.parametrize("kind", [None, "", JSON, "text/plain; charset=UTF-8", FORM, "application/xml", "nonsense; ="])
def test_json_is_read_whatever_its_type_is_called(kind):
    assert payload(' {"status": "down", "n": [1, 2.5, null, true]}\n', kind) == {
        "status": "down",
        "n": [1, 2.5, None, True],
    }


@pytest.mark.parametrize(
    ("text", "value"), [('"disk full"', "disk full"), ("7", 7), ("null", None), ("true", True), ("[]", [])]
)
def test_any_value_is_json_if_it_is_called_so(text, value):
    assert payload(text, "application/vnd.api+json") == value


@pytest.mark.parametrize("kind", ["text/plain", "text/html", "application/xml", "application/soap+xml"])
@pytest.mark.parametrize("text", ["42", "true", "disk full", "a=b", "<alert>down</alert>"])
def test_text_is_text_and_no_fault(kind, text):
    assert payload(text, kind) == text


@pytest.mark.parametrize("text", ['{"a": 1', '{"a" 1}', "[1,]", "{'a': 1}", '{"a":1} {"a":2}'])
@pytest.mark.parametrize("kind", [None, JSON, "text/plain", FORM])
def test_what_looks_like_json_but_is_not_is_text_with_a_fault(text, kind):
    decoded = read(text, kind)
    assert decoded.payload == text
    assert decoded.fault.startswith("not JSON: ")
    assert "(line 1, column " in decoded.fault


@pytest.mark.parametrize("kind", [None, JSON, FORM, "application/octet-stream"])
def test_a_text_that_was_not_announced_as_text_is_a_fault(kind):
    decoded = read("the disk is full", kind)
    assert decoded.payload == "the disk is full"
    assert decoded.fault.startswith("not JSON")


def test_line_breaks_may_stand_in_strings_as_templates_of_people_put_them():
    assert payload('{"text": "one\ntwo\tthree"}') == {"text": "one\ntwo\tthree"}


def test_the_last_of_equal_keys_wins():
    assert payload('{"a": 1, "a": {"b": 2, "b": 3}}') == {"a": {"b": 3}}
    assert payload("a=1&a=2", FORM) == {"a": "2"}


def test_huge_numbers_are_text():
    long = "7" * 5000
    assert payload(f'{{"a": {long}, "b": -{long}, "c": 1e400, "d": -1E+999, "e": 0.{long}}}') == {
        "a": long,
        "b": f"-{long}",
        "c": "1e400",
        "d": "-1E+999",
        "e": f"0.{long}",
    }
    assert payload("[NaN, Infinity, -Infinity]") == ["NaN", "Infinity", "-Infinity"]
    assert payload("[12345678901234567890123, 6.02e23, 1e-400]") == [12345678901234567890123, 6.02e23, 0.0]
    assert payload("[1e30, 1e-31, -9.9e29, 1.1e-30]") == ["1e30", "1e-31", -9.9e29, 1.1e-30]


def test_nul_and_lone_surrogates_are_replaced_in_values_and_keys():
    assert payload(r'{"a\u0000": "x\u0000y", "\ud800": "\udc00\ud83d", "b": "\ud83d\ude00"}') == {
        "a�": "x�y",
        "�": "��",
        "b": "😀",
    }
    assert payload(b"a\0b", "text/plain") == "a�b"
    assert payload("a%00b=%00", FORM) == {"a�b": "�"}


def test_parts_below_the_deepest_level_are_text():
    decoded = read('{"a":' * 70 + '"\\u0000"' + "}" * 70)
    value: Any = decoded.payload
    for _ in range(MAX_DEPTH - 1):
        value = value["a"]
    assert value == {"a": '{"a":' * (70 - MAX_DEPTH) + '"\\u0000"' + "}" * (70 - MAX_DEPTH)}
    assert decoded.fault == "Parts deeper than 64 levels are kept as text."
    assert payload("[" * MAX_DEPTH + "]" * MAX_DEPTH) is not None


def test_what_python_cannot_parse_for_its_depth_is_text():
    decoded = read("[" * 100_000)
    assert decoded.payload == "[" * 100_000
    assert decoded.fault == "not JSON: it is nested too deeply."


def test_keys_beyond_the_limit_are_dropped_from_the_deepest_level_on():
    details = {f"k{number}": number for number in range(MAX_KEYS)}
    body = {"details": details, "status": "down"}
    decoded = read(json.dumps(body))
    assert decoded.payload["status"] == "down"
    assert len(decoded.payload["details"]) == MAX_KEYS - 2
    assert decoded.payload["details"]["k0"] == 0
    assert decoded.fault == "Only the first 10,000 keys are kept."
    del details["k0"], details["k1"]
    assert payload(json.dumps(body)) == body


def test_fields_beyond_the_limit_are_dropped():
    parts = multipart(*((f'form-data; name="a{number}"', "b") for number in range(MAX_KEYS + 5)))
    form = "&".join(f"a{number}=b" for number in range(MAX_KEYS + 5))
    query = {f"a{number}": "b" for number in range(MAX_KEYS + 5)}
    for decoded in (read(form, FORM), read(parts, MULTIPART), read("", query=query)):
        assert len(decoded.payload) == MAX_KEYS
        assert decoded.payload["a0"] == "b"
        assert decoded.fault == "Only the first 10,000 keys are kept."


def test_elements_of_lists_beyond_the_limit_are_dropped():
    decoded = read(json.dumps({"n": [1] * (MAX_ELEMENTS + 1), "status": "down"}))
    assert decoded.payload == {"n": [1] * MAX_ELEMENTS, "status": "down"}
    assert decoded.fault == "Only the first 100,000 elements of lists are kept."


def test_a_form_is_its_fields():
    assert payload("subject=disk+full&host=web%201&empty=&flag", FORM) == {
        "subject": "disk full",
        "host": "web 1",
        "empty": "",
        "flag": "",
    }
    assert payload("subject=disk full on web1\n", FORM) == {"subject": "disk full on web1"}


@pytest.mark.parametrize("kind", [None, JSON, "application/octet-stream"])
def test_a_form_is_recognised_without_its_type(kind):
    assert payload("status=down&host=web1", kind) == {"status": "down", "host": "web1"}
    assert read("load = 5", kind).payload == "load = 5"
    assert read("<a href=x>", kind).payload == "<a href=x>"


@pytest.mark.parametrize("field", ["payload", "data"])
@pytest.mark.parametrize("value", [{"status": "down", "é": [1]}, [{"status": "down"}]])
def test_json_in_a_field_is_unwrapped(field, value):
    text = json.dumps(value)
    assert payload(urlencode({field: text}), FORM) == value
    assert payload(urlencode({field: text})) == value
    assert payload(multipart((f'form-data; name="{field}"', text)), MULTIPART) == value
    assert payload("", query={field: text}) == value


def test_a_wrapper_that_holds_no_json_is_a_field_like_others():
    assert payload("payload=%5Bfull&data=7", FORM) == {"payload": "[full", "data": "7"}


def test_objects_in_single_fields_are_objects():
    fields = {"msg": "[web1] down", "heartbeat": '{"status": 0}', "monitor": '{"id": 3}'}
    expected = {"msg": "[web1] down", "heartbeat": {"status": 0}, "monitor": {"id": 3}}
    assert payload("", query=fields) == expected
    assert payload(urlencode(fields), FORM) == expected


def test_the_query_counts_only_without_a_body():
    assert payload(b" \n", query={"status": "down"}) == {"status": "down"}
    assert payload('{"a": 1}', query={"a": "2", "b": "3"}) == {"a": 1}
    assert payload(b"") == {}


@pytest.mark.parametrize("newline", ["\r\n", "\n"])
@pytest.mark.parametrize("kind", [MULTIPART, 'Multipart/Form-Data; charset=utf-8; boundary="xyz"', None, "text/plain"])
def test_the_fields_of_a_form_in_parts_are_read_and_its_files_are_not(kind, newline):
    body = multipart(
        ('form-data; name="subject"', "disk\nfull"),
        ('form-data; name="log"; filename="a.txt"', "secret"),
        ("attachment", "nothing"),
        ("form-data; name=host", "é"),
        newline=newline,
    )
    assert payload(body, kind) == {"subject": "disk\nfull", "host": "é"}


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=other", MULTIPART + "q" * 999])
def test_a_boundary_that_is_wrong_or_missing_is_taken_from_the_body(kind):
    assert payload(multipart(('form-data; name="a"', "b")), kind) == {"a": "b"}


def test_a_form_in_parts_without_fields_is_text_with_a_fault():
    decoded = read("nothing", MULTIPART)
    assert decoded.payload == "nothing"
    assert decoded.fault == "The form has no fields that can be read."


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ('{"a": "é€"}'.encode("utf-8-sig"), JSON),
        ('{"a": "é€"}'.encode("utf-16"), JSON),
        ('{"a": "é€"}'.encode("utf-16-be"), f"{JSON}; charset=UTF-16BE"),
        ('{"a": "é€"}'.encode("cp1252"), f"{JSON}; charset=windows-1252"),
        ('{"a": "é€"}'.encode("cp1252"), f"{JSON}; charset=utf-8"),
        ('{"a": "é€"}'.encode("cp1252"), None),
        ('{"a": "é€"}'.encode(), f"{JSON}; charset=ascii"),
        ('{"a": "é€"}'.encode(), f"{JSON}; charset=punycode"),
        ('{"a": "é€"}'.encode(), f"{JSON}; charset=zip"),
        ('{"a": "é€"}'.encode("iso-8859-15"), f'{JSON}; charset="ISO_8859-15"'),
        ("a=%E9%80", FORM),
    ],
)
def test_letters_are_read_in_the_encoding_that_fits(data, kind):
    assert payload(data, kind) == {"a": "é€"}


def test_bytes_of_no_encoding_are_replaced():
    assert payload(b"a\x81\xff", "text/plain") == "a�ÿ"


def test_a_body_beyond_the_limit_is_too_large():
    assert payload(b"x" * MAX_BYTES, "text/plain") == "x" * MAX_BYTES
    with pytest.raises(TooLarge):
        read(b"x" * (MAX_BYTES + 1), "text/plain")


IDS = {
    "idempotency-key": "1",
    "webhook-id": "2",
    "x-github-delivery": "3",
    "x-gitlab-event-uuid": "4",
    "x-amz-sns-message-id": "5",
    "ce-source": "6",
    "ce-id": "7",
    "sentry-hook-resource": "issue",
    "request-id": "8",
}


def test_the_first_id_in_the_order_of_the_contract_counts():
    left = dict(IDS)
    for name in ("idempotency-key", "webhook-id", "x-github-delivery", "x-gitlab-event-uuid", "x-amz-sns-message-id"):
        assert external_id(left, None) == left.pop(name)
    assert external_id(left, None) == "6 7"
    assert external_id({**left, "ce-id": ""}, None) == "8"
    assert external_id({"request-id": "8"}, None) == ""
    assert external_id({"ce-id": "7"}, None) == ""
    assert external_id({"webhook-id": "  "}, {"id": 3}) == ""


def test_an_id_may_stand_in_the_body_of_cloudevents_and_sns():
    assert external_id({}, {"specversion": "1.0", "source": "/a", "id": "9"}) == "/a 9"
    assert external_id({}, {"specversion": "1.0", "source": "/a", "id": 9}) == ""
    assert external_id({}, {"TopicArn": "arn:x", "MessageId": "m"}) == "m"
    assert external_id({}, {"MessageId": "m", "source": "a", "id": "b"}) == ""


def test_a_long_id_is_cut_and_keeps_its_difference():
    ids = [external_id({"webhook-id": "x" * 300 + end}, None) for end in "ab"]
    assert ids[0] != ids[1]
    assert {len(text) for text in ids} == {200}
    assert external_id({"webhook-id": "x" * 200}, None) == "x" * 200
    assert external_id({"webhook-id": "\ud800\0" * 200}, None).startswith("��")
