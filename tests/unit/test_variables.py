"""Variables from the environment, from files, and from an env file that is read as docker compose reads it."""

import re
from pathlib import Path

import pytest

from heartbeat_project.variables import VariableError, read_env_file, resolved_variables

ROOT = Path(__file__).parents[2]


@pytest.fixture
def read(tmp_path):
    def read_text(text: str | bytes, **environ: str) -> dict[str, str]:
        path = tmp_path / ".env"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_env_file(path, environ)

    return read_text


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=1", "1"),
        ("export A=1", "1"),
        ("  export\tA = 1  ", "1"),
        ("A: 1", "1"),
        ("A=a=b", "a=b"),
        ("A=1 # comment", "1"),
        ("A=1# no comment", "1# no comment"),
        ("A='1 # no comment' # comment", "1 # no comment"),
        ('A="1 # no comment" # comment', "1 # no comment"),
        (r"A='$B ${B} \n'", r"$B ${B} \n"),
        (r"A='it\'s'", "it's"),
        (r'A="say \"yes\""', 'say "yes"'),
        (r'A="a\tb\nc\\d"', "a\tb\nc\\d"),
        (r"A=a\tb", r"a\tb"),
        ('A="two\nlines"', "two\nlines"),
        ("A=$B", "b"),
        ("A=x${B}y", "xby"),
        ('A="x$B"', "xb"),
        (r'A="\$B"', "$B"),
        ("A=p$$w", "p$w"),
        ("A=${NO:-d}", "d"),
        ("A=${NO-d}", "d"),
        ("A=${NO:-x${B}}", "xb"),
        ("A=${E:-d}", "d"),
        ("A=${E-d}x", "x"),
        ("A=${B:+set}", "set"),
        ("A=${NO+set}x", "x"),
        ("A=${B?missing}", "b"),
    ],
)
def test_a_line_means_what_it_means_to_docker_compose(read, line, value):
    assert read(f"B=b\n{line}\n", E="")["A"] == value


def test_windows_line_ends_a_byte_order_mark_and_comments_are_passed_over(read):
    assert read(b"\xef\xbb\xbfA=1\r\n# A=2\r\n\r\nB='x'\r\nC=\r\n") == {"A": "1", "B": "x"}


def test_a_name_alone_passes_the_environments_value_on_and_the_environment_wins_in_a_value(read):
    assert read("A\nNO\nB=1\nC=$B", A="a", B="2") == {"A": "a", "B": "1", "C": "2"}


def test_a_dollar_that_may_be_part_of_a_password_is_warned_of(tmp_path):
    (tmp_path / ".env").write_text("A=1\nSECRET_KEY=pass$word")
    warnings: list[str] = []

    assert read_env_file(tmp_path / ".env", {}, warn=warnings.append)["SECRET_KEY"] == "pass"
    assert "line 2: the variable word is not set" in warnings[0]


@pytest.mark.parametrize(
    "line", ["A='open", 'A="open', "A B=1", "1A=1", "=1", "A=$", "A=$%", "A=${}", "A=${B", "A=${X:?}"]
)
def test_what_docker_compose_refuses_is_refused_with_its_line(read, line):
    with pytest.raises(VariableError, match=r"\.env, line 2: "):
        read(f"OK=1\n{line}")


def test_no_file_gives_nothing_and_one_that_is_no_text_is_refused(read, tmp_path):
    assert read_env_file(tmp_path / "none") == {}
    with pytest.raises(VariableError, match="not text in UTF-8"):
        read(b"A=\xff")


def test_the_example_sets_nothing_by_itself():
    assert set(read_env_file(ROOT / ".env.example")) <= {"COMPOSE_PROFILES"}


def test_the_example_lists_every_variable():
    read = r'env\.\w+\(\s*"([A-Z_]+)"'
    names = set(re.findall(read, (ROOT / "heartbeat_project" / "settings.py").read_text()))
    names |= {"DATABASE_URL", "DATABASE_PASSWORD", "REDIS_URL", "EMAIL_URL", "HEARTBEAT_DATA_DIR"}
    names -= {"HEARTBEAT_SUPERVISED"}  # script/server sets it
    example = (ROOT / ".env.example").read_text()

    assert len(names) > 40
    assert [name for name in sorted(names) if not re.search(rf"^#?{name}=", example, flags=re.MULTILINE)] == []


def test_a_variable_may_lie_in_a_file_and_its_own_value_wins(tmp_path):
    (tmp_path / "secret").write_text("from the file\n")
    file = str(tmp_path / "secret")

    assert resolved_variables({"SECRET_KEY_FILE": file})["SECRET_KEY"] == "from the file"
    assert resolved_variables({"SECRET_KEY_FILE": file, "SECRET_KEY": "own"})["SECRET_KEY"] == "own"
    assert resolved_variables({"SECRET_KEY_FILE": file, "SECRET_KEY": ""})["SECRET_KEY"] == "from the file"
    assert resolved_variables({"HEARTBEAT_OWNER_PASSWORD_FILE": file})["HEARTBEAT_OWNER_PASSWORD"] == "from the file"
    assert "SSL_CERT" not in resolved_variables({"SSL_CERT_FILE": "/none"})
    with pytest.raises(VariableError, match="SECRET_KEY_FILE names the file /none, which cannot be read: No such file"):
        resolved_variables({"SECRET_KEY_FILE": "/none"})
