"""The coverage gaps that pages and the API show: of a large organization those that were found last."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import QuerySet
from django.db.models.expressions import RawSQL

from accounts.models.groups import Group
from accounts.models.organizations import Organization
from heartbeat_project.kernel.sql import array
from integrations.coverage.gaps import Coverage, CoverageGap, GroupGap, coverage_of
from integrations.models.coverage import CoverageReport
from integrations.models.integrations import InboundIntegration

# Enabled integrations. Up to so many, the gaps are computed for each page that shows them: some tens of milliseconds.
COMPUTED_AT_ONCE: Final = 500
# A report is as old as this only if nobody looks for gaps: no worker runs, or the installation is held.
TOO_OLD: Final = timedelta(hours=1)


def latest_coverage(organization: Organization, *, now: datetime) -> Coverage:
    """Return the organization's coverage gaps; `at` says for which instant they were computed.

    They are computed now unless the organization is large and has a report that holds for `now`.
    """
    coverage = stored_coverage(organization, now=now)
    return coverage_of(organization, at=now) if coverage is None else coverage


def stored_coverage(organization: Organization, *, now: datetime) -> Coverage | None:
    """Return the organization's report; None if it is small, or has none that holds for `now`."""
    if not _is_large(organization):
        return None
    # Not one that lies ahead: the clock was set back.
    report = CoverageReport.objects.filter(
        organization=organization, checked_at__lte=now, checked_at__gt=now - TOO_OLD, looked_until__gt=now
    ).first()
    return None if report is None else _load(report)


def store_coverage(organization: Organization, coverage: Coverage) -> None:
    """Store the gaps of a large organization, unless newer ones are stored."""
    if not _is_large(organization):
        return
    values = _dump(coverage)
    older = CoverageReport.objects.filter(organization=organization, checked_at__lte=coverage.at)
    if not older.update(**values):
        CoverageReport.objects.bulk_create([CoverageReport(organization=organization, **values)], ignore_conflicts=True)


def among(ids: Iterable[int], *, organization_id: int) -> QuerySet[InboundIntegration]:
    """Return those of these integrations that are still enabled.

    The ids are one parameter: with one for each, thousands take longer to write and to parse than to look up.
    """
    own = RawSQL("SELECT unnest(%s::bigint[])", [array(ids)])
    return InboundIntegration.objects.filter(organization_id=organization_id, enabled=True, pk__in=own)


def _is_large(organization: Organization) -> bool:
    enabled = InboundIntegration.objects.filter(organization=organization, enabled=True)
    return enabled[: COMPUTED_AT_ONCE + 1].count() > COMPUTED_AT_ONCE


def _dump(coverage: Coverage) -> dict[str, Any]:
    """Return the columns of a report. Thousands of integrations share a few sets of gaps, which are stored once."""
    ids_by_gaps: dict[tuple[CoverageGap, ...], list[int]] = defaultdict(list)
    for pk, gaps in coverage.every.items():
        ids_by_gaps[tuple(gaps)].append(pk)
    return {
        "checked_at": coverage.at,
        "looked_until": coverage.looked_until,
        "gaps": [
            {
                "integrations": ids,
                "gaps": [_times(gap) | {"groups": sorted(gap.group_ids), "rule": gap.rule} for gap in gaps],
            }
            for gaps, ids in ids_by_gaps.items()
        ],
        "groups": [_times(gap) | {"group": gap.group.pk, "code": gap.code} for gap in coverage.groups],
    }


def _times(gap: CoverageGap | GroupGap) -> dict[str, Any]:
    ends_at = gap.ends_at.isoformat() if gap.ends_at else None
    return {"starts_at": gap.starts_at.isoformat(), "ends_at": ends_at, "reason": gap.reason}


def _load(report: CoverageReport) -> Coverage:
    every: dict[int, list[CoverageGap]] = {}
    for entry in report.gaps:
        gaps = [CoverageGap(*_read_times(gap), frozenset(gap["groups"]), gap["rule"]) for gap in entry["gaps"]]
        every.update(dict.fromkeys(entry["integrations"], gaps))
    groups = Group.objects.in_bulk([gap["group"] for gap in report.groups])
    group_gaps = [
        GroupGap(groups[gap["group"]], gap["code"], *_read_times(gap))
        for gap in report.groups
        if gap["group"] in groups  # it may have been deleted since
    ]
    return Coverage(report.checked_at, report.looked_until, every, group_gaps)


def _read_times(gap: dict[str, Any]) -> tuple[datetime, datetime | None, str]:
    ends_at = datetime.fromisoformat(gap["ends_at"]) if gap["ends_at"] else None
    return datetime.fromisoformat(gap["starts_at"]), ends_at, gap["reason"]
