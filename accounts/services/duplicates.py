"""Refuse a second contact method with the same kind and address, which would notify its owner twice."""

from accounts.addresses import comparable
from accounts.contact_kinds import CONTACT_KINDS
from accounts.models.groups import Group
from accounts.models.users import User
from heartbeat_project.kernel.errors import FieldError


def refuse_duplicate(
    holder: User | Group, *, kind: str, address: str, besides: int | None = None, field: str = "address"
) -> None:
    """Raise FieldError at `field` if another contact method of the holder has this kind and address.

    `besides` is the id of the method that gets the address. The caller has locked the holder's row, so that of two
    requests at once the second sees what the first saved. Existing duplicates are left alone.
    """
    new_address = comparable(kind, address)
    others = [method for method in holder.contact_methods.filter(kind=kind) if method.pk != besides]
    duplicate = next((method for method in others if comparable(kind, method.address) == new_address), None)
    if duplicate is None:
        return
    address_noun = CONTACT_KINDS[kind].address_noun
    holder_noun = "person" if isinstance(holder, User) else "group"
    advice = "Use that one" if duplicate.verified_at else "Verify that one with its code"
    message = (
        f"This {holder_noun} has this {address_noun} already, as “{duplicate.label}”. {advice}, or remove it first."
    )
    raise FieldError(field, message, code="duplicate")
