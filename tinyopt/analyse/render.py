"""An analysis for the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tinyopt.analyse.analyse import Analysis, Trial
from tinyopt.analyse.profile import Profile
from tinyopt.names import short_name


def render(analysis: Analysis, *, suggestions: int = 12) -> RenderableType:
    """Three tables: the profile, the sensitivities (a line for every layer), and the first suggestions."""
    parts: list[RenderableType] = []
    if analysis.profile is not None:
        parts.append(_profile_table(analysis, analysis.profile))
    parts.append(_sensitivity_table(analysis))
    if analysis.suggestions:
        table = Table(title="suggestions, by predicted gain", title_justify="left")
        for name in ("layer", "technique", "cycles", "flash", "accuracy", "SQNR, dB"):
            table.add_column(name, justify="left" if name in ("layer", "technique") else "right")
        for item in analysis.suggestions[:suggestions]:
            t = item.trial
            table.add_row(
                short_name(t.layer, 28),
                t.technique,
                f"{-item.saved_cycles_share:+.1%}",
                f"{-item.saved_flash_share:+.1%}",
                "–" if t.accuracy_loss is None else f"{100 * (0.0 - t.accuracy_loss):+.2f} points",
                "–" if t.sqnr_db is None else f"{t.sqnr_db:.1f}",
            )
        parts.append(table)
        parts.append(
            Text("Each is for the layer alone; losses add up. Fine-tune after several, and measure.", style="dim")
        )
    else:
        parts.append(Text("nothing to suggest: what the layers bear saves nothing on this board", style="dim"))
    parts += [Text(f"note: {note}", style="yellow") for note in analysis.notes]
    return Group(*parts)


def _profile_table(analysis: Analysis, found: Profile) -> Table:
    kind = "estimated" if found.measured and analysis.emulated else "measured" if found.measured else "predicted"
    table = Table(title=f"where cycles and bytes go on {analysis.board}, as int8", title_justify="left")
    for name in ("layer", "operator", "kernel", f"cycles ({kind})", "share", "flash", "arena while it runs"):
        table.add_column(name, justify="left" if name in ("layer", "operator", "kernel") else "right")
    for layer in found.layers:
        table.add_row(
            short_name(layer.name, 28),
            layer.operator,
            layer.kernel,
            f"{layer.cycles:,.0f}",
            f"{layer.cycles / found.cycles:.1%}" if found.cycles else "–",
            f"{layer.flash_bytes:,}",
            f"{layer.live_bytes:,}",
        )
    table.add_section()
    energy = "" if found.energy_uj is None else f"{found.energy_uj:,.1f} µJ"
    table.add_row(
        "total", "", energy, f"{found.cycles:,.0f}", "", f"{found.flash_bytes:,} with code", f"{found.arena_bytes:,}"
    )
    return table


def _sensitivity_table(analysis: Analysis) -> Table:
    labels = analysis.accuracy is not None
    what = "loss of accuracy, points" if labels else "SQNR of the output, dB"
    title = f"sensitivity: {what}, each layer alone ({analysis.samples} samples"
    title += f", float accuracy {analysis.accuracy:.2%})" if analysis.accuracy is not None else ")"
    table = Table(title=title, title_justify="left")
    table.add_column("layer")
    columns = list(dict.fromkeys(trial.technique for trial in analysis.trials))
    for name in columns:
        short = name.replace("weights ", "").replace("prune ", "").replace(" of the ", " ")
        table.add_column(short, justify="right")
    rows: dict[str, dict[str, Trial]] = {}
    for trial in analysis.trials:
        rows.setdefault(trial.layer, {})[trial.technique] = trial
    for layer, cells in rows.items():
        table.add_row(short_name(layer, 28), *(_cell(cells.get(name), labels) for name in columns))
    return table


def _cell(trial: Trial | None, labels: bool) -> str:
    if trial is None or trial.reason is not None:
        return "·"
    if labels and trial.accuracy_loss is not None:
        return f"{100 * trial.accuracy_loss:.2f}"
    return "∞" if trial.sqnr_db is None else f"{trial.sqnr_db:.1f}"
