"""Rows within a page of Configuration: as many as one has, not as many as somebody says there are."""

import time

from tests import factories


def test_rows_that_are_only_announced_are_not_made(here, signed_in):
    client = signed_in(here.people["Owner"])
    for _ in range(50):
        factories.UserFactory(organization=here.organization)
    sent = {"group": here.objects["accounts_group"].pk, "name": "S", "kind": "fixed", "time_zone": "UTC"}
    for rows in ("people", "windows"):
        sent |= {f"{rows}-TOTAL_FORMS": "1000000000", f"{rows}-INITIAL_FORMS": "0"}
        sent |= {f"{rows}-MIN_NUM_FORMS": "0", f"{rows}-MAX_NUM_FORMS": "1000000000"}
    began = time.process_time()
    response = client.post("/admin/escalation/shift/add/", sent)
    took = time.process_time() - began
    assert response.status_code == 200
    assert took < 4, took  # it was 90 s
    for row in ("1999", "9" * 5_000):
        response = client.post("/admin/escalation/shift/add/", sent | {f"people-{row}-user": "1"})
        assert response.status_code == 400
