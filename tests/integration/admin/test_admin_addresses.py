"""Addresses of admin pages as somebody types or bends them."""


def test_a_new_person_is_asked_for_a_password_and_not_for_a_new_one(here, signed_in):
    client = signed_in(here.people["Owner"])

    adding = client.get("/admin/accounts/user/add/").content.decode()
    changing = client.get(f"/admin/accounts/user/{here.people['Basic'].pk}/change/").content.decode()

    assert "keep the current password" not in adding
    assert "New password" not in adding
    assert "keep the current password" in changing


def test_time_zones_are_those_that_mean_the_same_on_every_machine(here, signed_in):
    page = signed_in(here.people["Owner"]).get("/admin/accounts/user/add/").content.decode()

    assert 'value="Europe/Berlin"' in page
    assert not [name for name in ("localtime", "Factory") if f'value="{name}"' in page]
