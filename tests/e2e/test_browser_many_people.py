"""In a real browser: among many rows one is found by typing, and chosen."""

import pytest
from playwright.sync_api import expect

from integrations.models.windows import MaintenanceWindow
from tests import factories
from tests.e2e.test_browser_seed_walk import sign_in

pytestmark = [pytest.mark.browser, pytest.mark.serial, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def last(organization):
    """The last of more people than a field lists."""
    return [factories.UserFactory(organization=organization, name=f"Person {n:02}") for n in range(24)][-1]


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch):
    for name in ("MAX_LISTED", "MAX_LISTED_IN_ROW"):
        monkeypatch.setattr(f"heartbeat_project.kernel.choice_fields.{name}", 10)


def test_the_member_of_a_row_becomes_any_other_and_a_tier_gets_anybody(page, organization, ines, last):
    ines.roles.add(organization.roles.get(name="App Admin"))
    group = factories.GroupFactory(organization=organization, name="Operations", primary=[ines])
    factories.GroupFactory(name="Elsewhere", primary=[factories.UserFactory(name="Person 23 elsewhere")])
    sign_in(page)
    page.goto(f"/admin/accounts/group/{group.pk}/change/")
    member = page.locator("select[name=members-0-user]")
    expect(member.locator("option")).to_have_count(2)
    page.locator("input[name=members-0-user-find]").fill("person 23")
    expect(member.locator("option")).to_have_count(3)
    expect(member).to_have_value(str(ines.pk))
    assert "elsewhere" not in page.content()
    member.select_option(str(last))
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/admin/accounts/group/")
    assert [one.user for one in group.members.all()] == [last]

    page.goto(f"/admin/accounts/group/{group.pk}/change/")
    page.get_by_text("Add another Member").click()
    page.locator("input[name=members-2-user-find]").fill("person 07")
    page.locator("select[name=members-2-user]").select_option(label="Person 07")
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/admin/accounts/group/")
    assert {one.user.name for one in group.members.all()} == {last.name, "Person 07"}

    play = factories.PlayFactory(organization=organization)
    play.tiers.create(offset_minutes=0).users.add(ines)
    page.goto(f"/admin/escalation/responseplay/{play.pk}/change/")
    rows = page.locator("#id_tiers-0-users .option")
    expect(rows).to_have_count(1)
    page.locator("input[name=tiers-0-users-find]").fill("Person 23")
    expect(rows).to_have_count(2)
    page.locator("#id_tiers-0-users").get_by_label(str(last)).check()
    page.locator("input[name=tiers-0-users-find]").fill("")
    expect(rows).to_have_count(2)  # both are chosen
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/admin/escalation/responseplay/")
    assert set(play.tiers.get().users.all()) == {ines, last}
    assert page.troubles == []


def test_enter_in_a_search_finds_and_saves_nothing(page, organization, ines):
    for number in range(30):
        factories.HeartbeatFactory(organization=organization, name=f"Nightly {number:02}")
    sign_in(page)
    page.goto("/admin/integrations/maintenancewindow/add/")
    page.get_by_label("Name").first.fill("Patch day")
    page.get_by_label("Starts").fill("2030-01-01T00:00")
    page.get_by_label("Ends").fill("2030-01-01T01:00")
    find = page.locator("input[name=integrations-find]")
    find.fill("nightly 2")
    find.press("Enter")
    expect(page.locator("#id_integrations .option")).to_have_count(10)
    assert not MaintenanceWindow.objects.exists()
    page.get_by_label("Nightly 23").check()
    find.fill("nothing like it")
    expect(page.get_by_text("Nothing has this in its name.")).to_be_visible()
    expect(page.locator("#id_integrations .option")).to_have_count(1)
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/admin/integrations/maintenancewindow/")
    assert [one.name for one in MaintenanceWindow.objects.get().integrations.all()] == ["Nightly 23"]
    assert page.troubles == []
