"""Applies the rules of an integration to an event that is already in the words of an alert."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from integrations.inbound.conditions import Found, PathError, holds
from integrations.inbound.default_keys import PRIORITIES, clean_line, clean_text
from integrations.inbound.event import Action, Fault, MappedEvent, MappingConfig, Then
from integrations.inbound.filters import RenderError
from integrations.inbound.patterns import PatternError
from integrations.inbound.templates import TemplateError, compile_template
from integrations.inbound.work import Work

MAX_RULES: Final = 100
_MAX_SUBJECT: Final = 300
_MAX_NOTE: Final = 2_000
_MAX_FAULT: Final = 500


def apply_rules(mapped: MappedEvent, config: MappingConfig, context: Mapping[str, Any], *, work: Work) -> MappedEvent:
    """Return the event after the rules, in their order, up to the first that holds and stops.

    A rule that fails does not hold, and gives a fault. If there are rules and none holds, `no_rule` decides, unless one
    failed: it might have held. `work` is what is left for the templates and rules of the event.
    """
    faults: list[Fault] = []
    found: Found = {}
    result, matched = mapped, list[int]()
    for number, rule in enumerate(config.rules[:MAX_RULES], 1):
        try:
            if not holds(rule.get("when") or {}, context["payload"], found=found, work=work):
                continue
        except (PathError, PatternError, LookupError, TypeError, AttributeError, ValueError) as error:
            faults.append(Fault("rules", f"Rule {number}: {error}"[:_MAX_FAULT]))
            if work.left <= 0:
                break  # of the event's share; each rule behind it would fail alike
            continue
        matched.append(number)
        result = _applied(rule.get("then") or {}, result, _Texts(context, work, faults, number))
        if rule.get("stop", True):
            break
    is_ignored = config.rules and not matched and not faults and config.no_rule == "ignore"
    if is_ignored:
        result = replace(result, action=Action.IGNORE, reason="rule")
    return replace(result, rules=matched, faults=[*result.faults, *faults])


@dataclass(frozen=True, slots=True)
class _Texts:
    """Renders the templates of one rule."""

    context: Mapping[str, Any]
    work: Work
    faults: list[Fault]
    number: int

    def render(self, field: str, then: Mapping[str, Any]) -> str:
        """Return what a template renders to; "" if there is none, or it fails, which is a fault."""
        template = then.get(field)
        if not template:
            return ""
        try:
            text = compile_template(template).render(self.context, limit=_MAX_NOTE, work=self.work)
        except (TemplateError, RenderError) as error:
            self.faults.append(Fault("rules", f"Rule {self.number}, {field}: {error}"[:_MAX_FAULT]))
            return ""
        return clean_text(text, _MAX_NOTE).strip()


def _applied(then: Mapping[str, Any], mapped: MappedEvent, texts: _Texts) -> MappedEvent:
    changes: dict[str, Any] = {"then": _then(then, mapped.then, note=texts.render("note", then))}
    if then.get("action"):
        changes["action"] = Action(then["action"])
        changes["reason"] = "rule" if changes["action"] is Action.IGNORE else ""
    if then.get("priority") in PRIORITIES:
        changes["priority"] = then["priority"]
    if subject := clean_line(texts.render("subject", then), _MAX_SUBJECT):
        changes["subject"] = subject
        if mapped.short_text == mapped.subject:
            changes["short_text"] = subject
    return replace(mapped, **changes)


def _then(then: Mapping[str, Any], before: Then, *, note: str) -> Then:
    """Return what several rules ask for: the last one decides, recipients are added unless a rule replaces them."""
    is_replaced = bool(then.get("replace"))
    earlier = Then() if is_replaced else before
    leads = {key: then.get(key) for key in ("escalation_policy", "response_play")}
    if not any(leads.values()):
        leads = {"escalation_policy": before.escalation_policy, "response_play": before.response_play}
    return Then(
        **leads,
        recipient_groups=_added(earlier.recipient_groups, then.get("recipient_groups")),
        recipient_users=_added(earlier.recipient_users, then.get("recipient_users")),
        replace=is_replaced or before.replace,
        note="\n".join(filter(None, [before.note, note])),
        delay=then.get("delay") or before.delay,
    )


def _added(ids: Sequence[int], more: Sequence[int] | None) -> Sequence[int]:
    return list(dict.fromkeys([*ids, *(more or ())]))
