"""The report of a recipe: its stages side by side, and what became of the budgets."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tinyopt.board import Board
from tinyopt.errors import RecipeError
from tinyopt.recipe.measure import Metrics

if TYPE_CHECKING:
    from tinyopt.recipe.recipe import Budgets, Recipe


@dataclass(frozen=True)
class Row:
    """One stage: its name, its kind, and the figures of the model that it gave. ``missed``: by how much it missed a
    target of its own."""

    stage: str
    kind: str
    metrics: Metrics
    notes: tuple[str, ...] = ()
    missed: str | None = None


@dataclass(frozen=True)
class Budget:
    """One budget against the last model. ``excess``: by how much it is missed, as a share of the limit (accuracy: as a
    share of one); 0 where it is kept; infinite where there is no figure."""

    name: str
    limit: float
    value: float | None
    excess: float

    @property
    def met(self) -> bool:
        return self.excess == 0.0

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.name}: no figure (wanted {_amount(self.name, self.limit)})"
        found, limit = _amount(self.name, self.value), _amount(self.name, self.limit)
        text = f"{self.name}: {found}, wanted {_bound(self.name)} {limit}"
        if self.met:
            return f"{text}: met"
        by = f"{100 * self.excess:.2f} points"
        if not self.name.startswith("accuracy"):
            by = _amount(self.name, self.value - self.limit)
            by += f" ({self.excess:,.1%})" if self.limit > 0 else ""
        return f"{text}: missed by {by}"


@dataclass(frozen=True)
class RecipeReport:
    """``budgets``: of the last model. ``best``: the stage whose model comes nearest to all budgets, where the last one
    misses some; ``best_budgets``: its budgets."""

    recipe: str
    board: str
    emulated: bool
    rows: tuple[Row, ...]
    budgets: tuple[Budget, ...] = ()
    best: str | None = None
    best_budgets: tuple[Budget, ...] = ()

    @property
    def met(self) -> bool:
        """Whether the last model keeps every budget, and every stage met the target of its own, where it has one."""
        return all(budget.met for budget in self.budgets) and not any(row.missed for row in self.rows)

    def verdict(self) -> str:
        """What became of the budgets, in words."""
        stages = "; ".join(f"stage '{row.stage}': {row.missed}" for row in self.rows if row.missed)
        missed = "; ".join(str(budget) for budget in self.budgets if not budget.met)
        if not missed:
            text = "all budgets met: " + "; ".join(map(str, self.budgets)) if self.budgets else "no budgets"
            return f"{stages}. {text[:1].upper()}{text[1:]}" if stages else text
        text = f"'{self.rows[-1].stage}' misses its budgets: {missed}"
        if self.best is not None and self.best != self.rows[-1].stage:
            rest = "; ".join(str(budget) for budget in self.best_budgets if not budget.met) or "it meets all of them"
            text += f". Nearest to the budgets is '{self.best}': {rest}"
        return f"{text}. {stages}" if stages else text

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``json.dumps``."""
        return {
            "recipe": self.recipe,
            "board": self.board,
            "emulated": self.emulated,
            "stages": [
                {"stage": r.stage, "kind": r.kind, **asdict(r.metrics), "notes": list(r.notes), "missed": r.missed}
                for r in self.rows
            ],
            "budgets": [_budget_facts(budget) for budget in self.budgets],
            "met": self.met,
            "best": self.best,
            "verdict": self.verdict(),
        }


def judge(recipe: Recipe, board: Board, rows: Sequence[Row]) -> RecipeReport:
    """The report of the stages of a recipe; ``rows`` begin with the model that it started from."""
    accuracies = [r.metrics.accuracy for r in rows if r.metrics.precision != "int8" and r.metrics.accuracy is not None]
    reference = max(accuracies, default=None)
    budgets = _budgets(recipe.budgets, rows[-1].metrics, reference)
    report = RecipeReport(recipe.name, board.name, board.is_emulated, tuple(rows), budgets)
    if all(budget.met for budget in budgets):
        return report
    judged = [(row.stage, _budgets(recipe.budgets, row.metrics, reference)) for row in reversed(rows)]
    best, of_best = min(judged, key=lambda item: sum(min(budget.excess, 1e6) for budget in item[1]))
    return RecipeReport(recipe.name, board.name, board.is_emulated, tuple(rows), budgets, best, of_best)


def _budgets(wanted: Budgets, found: Metrics, reference: float | None) -> tuple[Budget, ...]:
    lost = None if found.accuracy is None or reference is None else reference - found.accuracy
    values = {
        "accuracy": found.accuracy,
        "accuracy_loss": lost,
        "flash": found.flash_bytes,
        "ram": found.ram_bytes,
        "cycles": found.cycles,
        "energy_uj": found.energy_uj,
    }
    result = []
    for name, value in values.items():
        limit = getattr(wanted, name)
        if limit is None:
            continue
        if value is None:
            excess = float("inf")
        elif name == "accuracy":
            excess = _beyond(limit - value)
        elif name == "accuracy_loss":
            excess = _beyond(value - limit)
        else:
            excess = max(value - limit, 0.0) / max(limit, 1e-9)
        result.append(Budget(name, float(limit), None if value is None else float(value), excess))
    return tuple(result)


def _beyond(difference: float) -> float:
    """A difference of shares; what is left of the subtraction of equal ones is none."""
    return difference if difference > 1e-9 else 0.0


def _budget_facts(budget: Budget) -> dict[str, Any]:
    facts = asdict(budget)
    return {**facts, "excess": None if budget.value is None else budget.excess, "met": budget.met}


def _bound(name: str) -> str:
    return "at least" if name == "accuracy" else "at most"


def _amount(name: str, value: float) -> str:
    if name == "accuracy":
        return f"{value:.2%}"
    if name == "accuracy_loss":
        return f"{100 * value:.2f} points"
    unit = {"flash": " bytes", "ram": " bytes", "energy_uj": " µJ"}.get(name, "")
    return f"{value:,.1f}{unit}" if name == "energy_uj" else f"{value:,.0f}{unit}"


# ---- the table ----

COLUMNS = (
    "stage",
    "precision",
    "accuracy",
    "parameters",
    "not zero",
    "MACs",
    "flash, bytes",
    "RAM, bytes",
    "cycles",
    "energy, µJ",
)


def cells(row: Row) -> tuple[str, ...]:
    """The texts of one line of the table."""
    m = row.metrics
    mark = "" if m.measured or m.cycles is None else " *"
    return (
        row.stage,
        m.precision,
        "–" if m.accuracy is None else f"{m.accuracy:.2%}",
        f"{m.parameters:,}",
        f"{m.nonzero / m.parameters:.0%}" if m.parameters else "–",
        f"{m.macs:,}",
        _number(m.flash_bytes) + mark,
        _number(m.ram_bytes) + mark,
        _number(m.cycles) + mark,
        "–" if m.energy_uj is None else f"{m.energy_uj:,.1f}",
    )


def _number(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def footnotes(report: RecipeReport) -> list[str]:
    """What a reader of the table must know."""
    kind = "emulated: cycles and energy are estimates" if report.emulated else "hardware"
    lines = [f"Per inference on {report.board} ({kind}). Flash: code, tables and weights. RAM: arena and stack."]
    if any(not row.metrics.measured and row.metrics.cycles is not None for row in report.rows):
        lines.append("* predicted by the plan; flash without code, RAM without stack.")
    lines += [f"{row.stage}: {row.metrics.problem}" for row in report.rows if row.metrics.problem]
    return lines


def markdown(report: RecipeReport) -> str:
    """The report as a Markdown page."""
    rule = ["---", "---", *("---:" for _ in COLUMNS[2:])]
    lines = [f"# Recipe {report.recipe} on {report.board}", ""]
    lines += [f"| {' | '.join(line)} |" for line in (COLUMNS, rule, *(cells(row) for row in report.rows))]
    lines += ["", *footnotes(report), ""]
    if report.budgets or not report.met:
        listed = [f"- {budget}" for budget in report.budgets]
        listed += [f"- stage '{row.stage}': {row.missed}" for row in report.rows if row.missed]
        lines += ["## Budgets", "", *listed, ""]
        if not report.met:
            lines += [report.verdict() + ".", ""]
    notes = [(row.stage, note) for row in report.rows for note in row.notes]
    if notes:
        lines += ["## Notes", "", *(f"- {stage}: {note}" for stage, note in notes), ""]
    return "\n".join(lines)


def render(report: RecipeReport) -> RenderableType:
    """The report for a terminal."""
    table = Table(title=f"{report.recipe} on {report.board}", title_justify="left")
    for name in COLUMNS:
        table.add_column(name, justify="left" if name in COLUMNS[:2] else "right")
    for row in report.rows:
        table.add_row(*cells(row))
    parts: list[RenderableType] = [table, *(Text(line, style="dim") for line in footnotes(report))]
    parts += [Text(str(budget), style="green" if budget.met else "red") for budget in report.budgets]
    parts += [Text(f"{row.stage}: {row.missed}", style="red") for row in report.rows if row.missed]
    return Group(*parts)


def write_report(report: RecipeReport, folder: Path) -> None:
    """``report.md`` and ``report.json``.

    Raises:
        RecipeError: when they cannot be written.
    """
    contents = {"report.md": markdown(report), "report.json": json.dumps(report.to_json(), indent=1) + "\n"}
    for name, content in contents.items():
        temporary = folder / f".{name}.{os.getpid()}.part"
        try:
            temporary.write_text(content, encoding="utf-8")
            temporary.replace(folder / name)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise RecipeError(f"cannot write '{folder / name}': {error.strerror or error}") from None
