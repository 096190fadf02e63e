"""Whom an event of a calendar means."""

import pytest

from escalation.oncall.calendars.names import Members, Person

MEMBERS = Members(
    [
        Person(1, "ana@example.com", "Ana"),
        Person(2, "ben@example.com", "Ben"),
        Person(3, "ana.lima@example.com", "Ana Lima"),
        Person(4, "jose@example.com", "Jos\u00e9 Ortega y Gasset"),
        Person(5, "wang@example.com", "王小明"),
        Person(6, "siobhan@example.com", "Siobh\u00e1n O'Brien"),
        Person(7, "nameless@example.com", ""),
    ],
    common=["Database", "Nightly"],
)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("Ana", [1]),
        ("ANA", [1]),
        ("on call ana", [1]),
        ("On call - Ana", [1]),
        ("On-call \u2013 Ana", [1]),
        ("[Primary] Ana", [1]),
        ("On call (Ana)", [1]),
        ("Ana early shift", [1]),
        ("Bereitschaft Ana", [1]),
        ("Database Ana", [1]),
        ("KW12 Ana 24/7", [1]),
        ("Ana's shift", [1]),
        ("Rota for Ana", [1]),
        ("On call for Database: Ana", [1]),
        ("Ana and Ben", [1, 2]),
        ("Ana, Ben", [1, 2]),
        ("Ana/Ben", [1, 2]),
        ("Ana & Ben", [1, 2]),
        ("Primary: Ana. Secondary: Ben.", [1, 2]),
        ("Ana Lima", [3]),
        ("Payments Ana Lima", [3]),
        ("Dr. ana  lima (days)", [3]),
        ("Ana Lima / Ben", [3, 2]),
        ("ana.lima@example.com", [3]),
        ("Ana <ben@example.com>", [2]),
        ("JOSE\u0301 ORTEGA Y GASSET", [4]),
        ("On call: 王小明", [5]),
        ("Siobha\u0301n O\u2019Brien", [6]),
        # The last name first, as directories show it.
        ("Lima, Ana", [3]),
        ("On call: Lima, Ana (days), Ben", [3, 2]),
        ("Ben, Lima, Ana", [2, 3]),
        ("Ortega y Gasset, José", [4]),
        # Who is covered is not meant.
        ("Ben (covers for Ana)", [2]),
        ("Ben for Ana", [2]),
        ("Ben covering Ana", [2]),
        ("Ben instead of Ana", [2]),
        # A part of another name is none.
        ("On call: Ana Torres", []),
        ("on call: ana torres", []),
        ("Ana de la Torre", []),
        ("Ana-Maria", []),
        ("Ana T.", []),
        ("Torres Ana", []),
        ("Ana Lima Torres", []),
        ("Lima", []),
        ("Bobby", []),
        ("王小明天", []),
        ("", []),
        ("@", []),
    ],
)
def test_a_whole_name_or_an_address_is_meant(words, meant):
    assert MEMBERS.find(words) == meant


def test_who_attends_goes_before_who_is_named_and_who_declined_is_not_meant():
    assert MEMBERS.find("Ana", emails=["ben@example.com", "guest@example.com"]) == [2]
    assert MEMBERS.find("Ana", emails=["guest@example.com"]) == [1]
    assert MEMBERS.find("Ana, Ben", declined=["ana@example.com"]) == [2]
    assert MEMBERS.find("x", emails=["ana@example.com"], declined=["ana@example.com"]) == [1]


def test_only_the_beginning_of_very_many_words_is_read():
    assert MEMBERS.find("(" * 400 + "x " * 100_000 + "Ana") == []
