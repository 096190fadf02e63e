"""Formats numbers for people."""


def figure(value: float | None) -> str:
    """Return a number with about three significant digits and with thousands separators; empty for None."""
    if value is None:
        return ""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"
