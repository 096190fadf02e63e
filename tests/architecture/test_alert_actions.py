"""What people do to an alert is done where the escalation follows it, so that no caller can forget that half."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
APPS = ("accounts", "alerting", "embedded", "escalation", "integrations", "heartbeat_project")
SERVICES = "alerting.services.alerts"

ACT = "escalation/responses/act.py"
# The demo writes a history that is over: nobody is to be notified by it.
DEMO = "heartbeat_project/demo.py"

# Which modules may call a service that changes the alert alone. `escalate` would notify nobody by itself: its only
# caller makes the next step due in the same transaction.
CALLERS = {
    "acknowledge": {ACT, DEMO},
    "add_responders": {"escalation/responses/add_responders.py"},
    "assign": {ACT, DEMO},
    "assign_alerts": {ACT},
    "cancel": {ACT},
    "close": {ACT},
    "escalate": {"escalation/engine/advance.py"},
    "give_back": {ACT},
    "hold": {ACT, DEMO},
    "reassign": {"escalation/responses/reassign.py"},
    "reply": {ACT, DEMO},
    "resume": {ACT},
    "unacknowledge": {ACT},
}


def services_used(source: str) -> set[str]:
    """Return the names of `alerting.services.alerts` that a module imports, or reads from the imported module."""
    tree = ast.parse(source)
    package, _, module = SERVICES.rpartition(".")
    aliases, names = {SERVICES}, set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == SERVICES:
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == package:
            aliases |= {alias.asname or alias.name for alias in node.names if alias.name == module}
        elif isinstance(node, ast.Import):
            aliases |= {alias.asname for alias in node.names if alias.name == SERVICES and alias.asname}
    return names | {
        node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and ast.unparse(node.value) in aliases
    }


def callers() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {name: set() for name in CALLERS}
    for app in APPS:
        for path in (ROOT / app).rglob("*.py"):
            for name in services_used(path.read_text()) & CALLERS.keys():
                found[name].add(str(path.relative_to(ROOT)))
    return found


@pytest.mark.parametrize(
    "source",
    [
        "from alerting.services import alerts\nalerts.escalate(alert)",
        "from alerting.services import alerts as services\nchanges = {1: services.escalate}",
        "from alerting.services.alerts import escalate",
        "from alerting.services.alerts import close, escalate as hand_on",
        "import alerting.services.alerts\nalerting.services.alerts.escalate(alert)",
        "import alerting.services.alerts as services\nservices.escalate(alert)",
        "def later():\n    from alerting.services.alerts import escalate",
    ],
)
def test_each_way_to_call_a_service_is_seen(source):
    assert "escalate" in services_used(source)


def test_a_function_of_the_same_name_elsewhere_is_not_the_service():
    assert "escalate" not in services_used("from escalation.engine.advance import escalate\nself.escalate(alert)")


def test_only_the_escalation_side_changes_alerts_for_people():
    assert callers() == CALLERS
