"""Errors that a user can be told about, whatever interface they came through."""


class DomainError(Exception):
    """A rule of the domain refused what was asked.

    `code` is stable and machine-readable, `title` names the kind of problem, `status` is the HTTP status that fits.
    The message says what is wrong and what to do about it.
    """

    code = "refused"
    title = "The request was refused"
    status = 409


class FieldError(DomainError):
    """A rule refused the value of one field; nothing was saved."""

    code = "invalid"
    title = "The input is not valid"
    status = 400

    def __init__(self, field: str, message: str, *, code: str = "invalid") -> None:
        super().__init__(message)
        self.field = field
        self.code = code


class Forbidden(DomainError):
    """The user lacks the entitlement that this action needs."""

    code = "forbidden"
    title = "Not permitted"
    status = 403
