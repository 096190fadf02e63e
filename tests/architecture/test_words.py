"""The project speaks the field's language: what an old word of ours was called stays renamed, in code and in texts."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = {".py", ".sql", ".html", ".js", ".css", ".lua", ".toml", ".yml", ".json"}
TEXT = {".md", ".txt", ".example", ""}
# Other people's words: captured calendars, mails and payloads, licences, requirements, and this very list.
EXEMPT = re.compile(
    r"^(LICENSE|requirements.*\.txt|tests/architecture/test_words\.py|tests/fixtures/.*|.*/captured/.*|.*\.ics"
    r"|\..*|(?!\.env).*/\..*)$"
)
# A product, what aiosmtpd calls a mail, and the words of calendars that people write, which the matcher of names knows.
KNOWN = re.compile(r'PagerDuty|self\.envelope\b|"on call on-call oncall duty shift rota .*"')
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: the term of the field, and what may not come back.

    `invented` words are refused in every name and every text, alone, in the plural and as a part of a name. `names`
    are common words: they are refused as whole identifiers of code. `patterns` qualify a name that is used elsewhere.
    """

    term: str
    invented: str = ""
    names: str = ""
    patterns: tuple[str, ...] = ()


ROWS = (
    Row("notify, page", "tell told telling untold foretold", "WALK_ENDED walk_ended"),
    Row("bundle window", "letterbox", "shut_until shut_for"),
    Row("message id", "envelope"),
    Row("sender pool", "", "Lines LINES lines_of _Line", (r"\bchannels[./]lines\b",)),
    Row("circuit breaker", "", "Circuit circuit circuits", (r"^def (through|left_alone)\(", r"\.left_alone\b")),
    Row("rate limit", "allowance", "CLOCKS_DIFFER take_allowance", (r"\blimits\.take\b", r"limits import .*\btake\b")),
    Row(
        "wake-up",
        "doorbell",
        "bell Bell BELL ring Ring rung ring_now learn_to_ring ring_for_misses ring_for_recoveries",
    ),
    Row(
        "watermark, ingest process, process health",
        "horizon",
        "Listening Listener Hearing hearing HERE heard_until listening_horizon Heard",
    ),
    Row("shared timeout", "patience", "bear"),
    Row(
        "on-call shift, on-call period, rota",
        "duty roster",
        "Turn turns_of turns_from TurnSerializer TURNS_AHEAD Span span spans Standing standing standing_of standings",
    ),
    Row("resolve cover, find cycle, covered by", "", "stand_in stands_in _stands_in leads_back leading_to"),
    Row("allowed actions, disabled actions", "withheld", "offers offered_to get_offers"),
    Row(
        "why not allowed, why cannot respond, available actions",
        "hindrance hindered",
        "refusal_of_all possible_from possible_together",
    ),
    Row("inbound webhooks, HTTP client, endpoint", "door"),
    Row("park, unpark, expedite", "", "hurry hurried hurry_runs rest_runs resting wake_runs"),
    Row("route", "", "Way by_way ways_of"),
    Row("escalation starter, plan compiler, recipient directory", "", "Starter Compiler Directory"),
    Row("fallback recipients, deliverable", "steward hopeful", "without_hope"),
    Row("channel pool", "switchboard"),
    Row("preview, coverage gaps", "foresee foreseen foresees unready readiness", "Forecast forecast Moment"),
    Row("skipped stage", "", "", (r"\bwalk\.Gap\b",)),
    Row("repeat, retry, track cursor", "lap", "Place"),
    Row("isolated failures, quarantine", "poison poisoned", "together_or_alone set_aside"),
    Row("connections outside of pools", "", "let_go_of_the_database"),
    Row("masked address", "", "shown_address"),
    Row(
        "warm up, idempotent, overridden, schema generation, broker connection",
        "",
        "be_ready_for_a_storm _ALWAYS_WELCOME BENDING nobody_asks _door",
        (r"\bMOST_[A-Z]\w*",),
    ),
    Row("stored mail", "", "", (r"\bchannels[./]outbox\b", r"\boutbox\.(py|OutboxBackend)\b")),
    Row("the public contract", "", "told_instead", (r"who-would-be-told", r"/readiness/", r"\btell-me\b")),
)


def plural(word: str) -> set[str]:
    if word.endswith("y"):
        return {word, word[:-1] + "ies"}
    return {word, word + "s", word + "es"}


@cache
def parts(word: str) -> frozenset[str]:
    return frozenset(part.lower() for part in PART.findall(word))


INVENTED = {form: row.term for row in ROWS for word in row.invented.split() for form in plural(word)}
NAMES = {name: row.term for row in ROWS for name in row.names.split()}
PATTERNS = re.compile("|".join(pattern for row in ROWS for pattern in row.patterns), re.MULTILINE)


def refused(text: str, *, is_code: bool = True) -> set[str]:
    """Return the old words in a text; in a document the common ones are ordinary English."""
    words = set(WORD.findall(KNOWN.sub("", text)))
    found = {word for word in words if not parts(word).isdisjoint(INVENTED)}
    if is_code:
        found |= words & NAMES.keys()
        found |= {match[0] for match in PATTERNS.finditer(text)}
    return found


def identifiers(text: str) -> str:
    """Return Python code without its comments and what stands between quotes, where common words are English."""
    return re.sub(r'(?s)""".*?"""|\'\'\'.*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|#[^\n]*', "", text)


def blocks(text: str) -> str:
    """Return what a template asks of its context."""
    return " ".join(re.findall(r"(?s)\{\{.*?\}\}|\{%.*?%\}", re.sub(r'"[^"\n]*"', "", text)))


def files() -> list[Path]:
    tops = [path for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")]
    found = [path for path in ROOT.iterdir() if path.is_file()]
    found += [path for top in tops for path in top.rglob("*") if "__pycache__" not in path.parts]
    return [path for path in found if path.suffix in CODE | TEXT and path.is_file()]


def test_no_old_word_is_left_in_names_and_texts():
    found = {}
    for path in files():
        name = path.relative_to(ROOT).as_posix()
        if EXEMPT.match(name) and name != ".env.example":
            continue
        text = path.read_text("utf-8")
        words = refused(text, is_code=False) | refused(name.replace("/", " "), is_code=False)
        if path.suffix == ".py":
            words |= refused(identifiers(text))
        elif path.suffix == ".sql":
            words |= refused(re.sub(r"--[^\n]*|'[^'\n]*'", "", text))
        elif path.suffix == ".html":
            words |= refused(blocks(text))
        if words:
            found[name] = sorted(words)
    assert found == {}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.term)
def test_an_old_word_that_is_put_back_is_refused(row):
    for word in row.invented.split():
        assert refused(f"We {word} them.", is_code=False) == {word}
        assert refused(f"def find_{word}_first(): ...") == {f"find_{word}_first"}
        assert refused(f"class {word.title()}Error: ...") == {f"{word.title()}Error"}
    for name in row.names.split():
        assert name in refused(f"{name} = 1")
    for pattern in row.patterns:
        assert PATTERNS.search(_an_example(pattern)), pattern


def _an_example(pattern: str) -> str:
    """Return a text that a pattern of the table matches."""
    text = re.sub(r"\\b|\^|\$", "", pattern)
    text = re.sub(r"\((\w+)(?:\|[^)]*)?\)", r"\1", text).replace(r"\(", "(").replace(".*", "a, ")
    return text.replace("[./]", ".").replace(r"\.", ".").replace(r"[A-Z]\w*", "ROWS")


def test_what_other_programs_call_their_own_is_no_old_word():
    assert refused("A tool, a fortelling, the tellurian.", is_code=False) == set()
    assert refused("lines = text.splitlines()") == set()
    assert refused("ManyToManyField(User, through=Membership)") == set()
