"""Resource amounts: integers of one ten-thousandth, so that fractions add up exactly.

Ray uses the same precision (0.0001); ``CPU``, ``GPU`` and ``memory`` (bytes) are names like any other.
"""

from __future__ import annotations

from collections.abc import Mapping

UNITS_PER_ONE = 10_000

#: A demand or a capacity: resource name to units. Absent means zero.
Units = dict[str, int]


def to_units(amounts: Mapping[str, float]) -> Units:
    """Return ``amounts`` in units, without the zeros."""
    return {name: units for name, amount in amounts.items() if (units := round(amount * UNITS_PER_ONE))}


def from_units(units: Mapping[str, int]) -> dict[str, float]:
    """Return plain amounts: 10,000 units are 1.0."""
    return {name: value / UNITS_PER_ONE for name, value in units.items()}


def fits(demand: Mapping[str, int], capacity: Mapping[str, int]) -> bool:
    """Return whether ``capacity`` covers every amount in ``demand``."""
    return all(capacity.get(name, 0) >= amount for name, amount in demand.items())


def add(total: Units, amounts: Mapping[str, int]) -> None:
    """Add ``amounts`` to ``total`` in place."""
    for name, amount in amounts.items():
        total[name] = total.get(name, 0) + amount


def subtract(total: Units, amounts: Mapping[str, int]) -> None:
    """Take ``amounts`` from ``total`` in place; the result may be negative while a blocked worker resumes."""
    for name, amount in amounts.items():
        total[name] = total.get(name, 0) - amount


def describe(units: Mapping[str, int]) -> str:
    """Return ``'1 CPU, 0.5 GPU, 500 MB memory'``, or ``'nothing'``."""
    words = []
    for name, value in sorted(units.items()):
        amount = value / UNITS_PER_ONE
        words.append(f"{describe_bytes(amount)} {name}" if name == "memory" else f"{amount:,.10g} {name}")
    return ", ".join(words) or "nothing"


def describe_lack(demand: Mapping[str, int], nearest: Mapping[str, int]) -> str:
    """Return in words that no machine can hold ``demand``; ``nearest`` is all that the one has that comes nearest."""
    return f"it asks for {describe(demand)}, and the machine that comes nearest has {describe(nearest)}"


def describe_bytes(amount: float) -> str:
    """Return ``'812 bytes'``, ``'1.5 kB'``, ``'12 MB'``."""
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if amount >= size:
            return f"{amount / size:.4g} {unit}"
    return f"{amount:.10g} bytes"


def words_of_bytes(size: int) -> str:
    """Return a size for a column of such: ``812 B``, ``1.5 kB``, ``12.0 MB``, ``3.1 GB``."""
    if size < 1000:
        return f"{size} B"
    amount = float(size)
    for unit in ("kB", "MB", "GB"):
        amount /= 1000
        if amount < 999.95 or unit == "GB":
            break
    return f"{amount:.1f} {unit}"
