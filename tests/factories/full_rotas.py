"""Groups that hold as many turns of calendars as one could wish, written at once by the database."""

from collections.abc import Callable, Sequence

_COPY = """
    WITH copied AS (
        INSERT INTO escalation_shift
        SELECT (jsonb_populate_record(shift, jsonb_build_object(
            'id', nextval(pg_get_serial_sequence('escalation_shift', 'id')), 'name', shift.name || ' ' || number,
            'calendar_due_at', '2099-01-01T00:00:00Z'))).*
        FROM escalation_shift shift, generate_series(2, {shifts}) number
        WHERE shift.id = {shift}
        RETURNING id
    ) SELECT count(*) FROM copied
"""
# From yesterday on, one after the other, of all people in turn; each lasts until the third after it.
_FILL = """
    WITH filled AS (
        INSERT INTO escalation_shiftentry (shift_id, user_id, role, starts_at, ends_at)
        SELECT shift.id, ('{{{people}}}'::bigint[])[1 + (number + shift.id) % {count}],
            CASE number % 2 WHEN 0 THEN 'primary' ELSE 'secondary' END, begins, begins + 3 * step
        FROM escalation_shift shift, generate_series(0, {turns} - 1) number,
            LATERAL (SELECT interval '121 days' / {turns} AS step) AS pace,
            LATERAL (SELECT date_trunc('second', now()) - interval '1 day' + number * step
                + shift.id % 97 * interval '1 second' AS begins) AS beginning
        WHERE shift.group_id = (SELECT group_id FROM escalation_shift WHERE id = {shift}) AND shift.kind = 'calendar'
        RETURNING id
    ) SELECT count(*) FROM filled
"""


def fill(shift: int, people: Sequence[int], *, shifts: int, turns: int, sql: Callable[[str], object]) -> None:
    """Copy a shift with a calendar until its group has so many, each of which has so many turns of these people."""
    sql(_COPY.format(shift=shift, shifts=shifts))
    listed = ",".join(map(str, people))
    sql(_FILL.format(shift=shift, people=listed, count=len(people), turns=turns))
