"""What a factorization did."""

from __future__ import annotations

from dataclasses import dataclass

from tinyopt.compress.factorize.methods import MethodName
from tinyopt.names import short_name


@dataclass(frozen=True)
class FactorizedLayer:
    """A layer that became a chain. ``discarded``: share of the energy of its weights that is left out. ``parameters``
    are weights without the bias; costs are of the layer alone, where a cost was given."""

    name: str
    operator: str
    method: MethodName
    ranks: tuple[int, ...]
    discarded: float
    parameters_before: int
    parameters_after: int
    macs_before: int
    macs_after: int
    cost_before: float | None = None
    cost_after: float | None = None


@dataclass(frozen=True)
class LeftLayer:
    """A layer that stayed as it was, and why."""

    name: str
    operator: str
    reason: str


@dataclass(frozen=True)
class FactorizationReport:
    """The network before and after. ``missed``: how far a budget was missed, or None."""

    layers: tuple[FactorizedLayer, ...]
    left: tuple[LeftLayer, ...]
    parameters_before: int
    parameters_after: int
    macs_before: int
    macs_after: int
    cost_before: float | None = None
    cost_after: float | None = None
    missed: str | None = None

    def table(self) -> str:
        """One line per layer, then the totals."""
        rows = [
            f"{short_name(r.name, 28):<28} {r.method:<12} rank {'x'.join(map(str, r.ranks)):<12} "
            f"energy {100 * (1 - r.discarded):6.2f} %  weights {r.parameters_before:>9,} -> {r.parameters_after:>9,}  "
            f"MACs {r.macs_before:>11,} -> {r.macs_after:>11,}"
            + ("" if r.cost_before is None else f"  cost {r.cost_before:>11,.0f} -> {r.cost_after or 0:>11,.0f}")
            for r in self.layers
        ]
        rows += [f"{short_name(r.name, 28):<28} left: {r.reason}" for r in self.left]
        rows.append(f"parameters {self.parameters_before:,} -> {self.parameters_after:,}")
        rows.append(f"MACs {self.macs_before:,} -> {self.macs_after:,}")
        if self.cost_before is not None and self.cost_after is not None:
            rows.append(f"cost {self.cost_before:,.0f} -> {self.cost_after:,.0f}")
        if self.missed:
            rows.append(self.missed)
        return "\n".join(rows)
