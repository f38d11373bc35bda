"""The goals for the official models, each with its value and whether it holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.official import Row

M4, M7, M55, M0, RV32 = "mps2_an386", "mps2_an500", "mps3_an547", "mps2_m0", "rv32_virt"
MODELS = ("kws", "vww", "ic", "ad")

BEST_PUBLISHED_M4 = {"kws": 5.18e6, "vww": 10.67e6, "ic": 19.8e6, "ad": 0.486e6}
"""MLPerf Tiny, closed division, NUCLEO-L4R5ZI: 120 MHz over the published rate."""
MOONSHOT_M4 = {"kws": 4.4e6, "vww": 7.0e6, "ic": 16.5e6, "ad": 0.42e6}
BEST_PUBLISHED_M7 = {"kws": 280e6 / 88.4, "vww": 280e6 / 42.0, "ic": 280e6 / 24.5, "ad": 280e6 / 923}
BEST_PUBLISHED_M0 = {"kws": 30.4e6, "vww": 90.5e6, "ic": 97.4e6, "ad": 2.62e6}
"""MLPerf Tiny, a Cortex-M0+ at 64 MHz."""
ARENA = {"kws": 12_000, "vww": 50_000, "ic": 36_000, "ad": 1_600}
ARENA_MOONSHOT = {"vww": 24_000}
CODE = {"kws": 10_000, "vww": 14_000, "ic": 10_000, "ad": 5_000}
M55_RATIO = 0.7


@dataclass(frozen=True)
class Bar:
    """``value`` holds when it is at most ``limit``; None: it was not measured."""

    what: str
    board: str
    model: str
    value: float | None
    limit: float

    @property
    def holds(self) -> bool | None:
        return None if self.value is None else self.value <= self.limit


def bars(rows: Sequence[Row], peers: dict[tuple[str, str], tuple[int, int, int | None]]) -> list[Bar]:
    """Every goal. ``peers``: instructions, arena and code of TensorFlow Lite Micro with CMSIS-NN."""
    found = {(row.model, row.board, row.objective): row.report for row in rows}

    def cycles(model: str, board: str) -> float | None:
        report = found.get((model, board, "latency"))
        return None if report is None else report.cycles

    def all_bars() -> Iterator[Bar]:
        for model in MODELS:
            yield Bar("cycles, best published", M4, model, cycles(model, M4), BEST_PUBLISHED_M4[model])
        for model in MODELS:
            yield Bar("cycles, moonshot", M4, model, cycles(model, M4), MOONSHOT_M4[model])
        on_m4 = {model: found.get((model, M4, "latency")) for model in MODELS}
        for model, report in on_m4.items():
            yield Bar("arena, bytes", M4, model, report and report.arena_bytes, ARENA[model])
        for model, limit in ARENA_MOONSHOT.items():
            small = found.get((model, M4, "ram"))
            yield Bar("arena with objective ram, moonshot", M4, model, small and small.arena_bytes, limit)
        for model, report in on_m4.items():
            yield Bar("code, bytes", M4, model, report and report.code_bytes, CODE[model])
        for model in MODELS:
            helium = found.get((model, M55, "latency"))
            limit = M55_RATIO * peers[model, M55][0]
            yield Bar(f"instructions, {M55_RATIO} of the peer's", M55, model, helium and helium.instructions, limit)
        for model in MODELS:
            ours, base = cycles(model, M7), cycles(model, M4)
            ratio = None if ours is None else ours / BEST_PUBLISHED_M7[model]
            yield Bar(
                "cycles against best published, as on M4", M7, model, ratio, (base or 0) / BEST_PUBLISHED_M4[model]
            )
        for board in (M0, RV32):
            for model in MODELS:
                yield Bar("cycles, best published M0+", board, model, cycles(model, board), BEST_PUBLISHED_M0[model])

    return list(all_bars())


def table(found: Sequence[Bar]) -> list[str]:
    """The section of the benchmark page."""
    lines = ["\n## Goals\n", INTRODUCTION, "| goal | board | model | at most | value | holds |"]
    lines.append("| --- | --- | --- | ---: | ---: | --- |")
    words = {True: "yes", False: "**no**", None: "–"}
    for bar in found:
        value = "–" if bar.value is None else number(bar.value)
        lines.append(f"| {bar.what} | {bar.board} | {bar.model} | {number(bar.limit)} | {value} | {words[bar.holds]} |")
    held, known = sum(bar.holds is True for bar in found), sum(bar.holds is not None for bar in found)
    return [*lines, f"\n{held} of {known} hold."]


def number(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{round(value):,}"


INTRODUCTION = """\
Best published: MLPerf Tiny, closed division, on silicon. Our cycles are estimates (see [cycles.md](cycles.md)), and
those of the Cortex-M7 are the least certain. Peer: TensorFlow Lite Micro with CMSIS-NN on the same emulated board.
"""
