"""``tinyopt analyse``."""

from __future__ import annotations

from pathlib import Path

from tinyopt.board import load_board
from tinyopt.cli.console import console, errors, print_json, progress


def analyse_model(
    model: Path,
    board_name: str,
    data: str,
    *,
    samples: int,
    tolerance: float,
    objective: str,
    run: bool,
    cache: Path | None,
    input_layout: str,
    json_output: bool,
) -> None:
    from tinyopt.analyse import Sensitivity, analyse, render
    from tinyopt.cli.commands import load_model
    from tinyopt.plan.objective import Objective

    goal = Objective.parse(objective)
    latency, flash = _worth(goal.weights)
    config = Sensitivity(
        samples=samples, tolerance=tolerance / 100, latency=latency, flash=flash, objective=str(goal), run=run
    )
    board = load_board(board_name)
    graph = load_model(model, input_layout=input_layout)
    with progress(f"layers and techniques, for {board.title}") as step:
        try:
            result = analyse(graph, board, data, config, cache=cache, on_progress=step)
        except KeyboardInterrupt:
            if cache is not None:
                errors().print(f"interrupted; what was found is in {cache}: the same command goes on from there")
            raise
    if json_output:
        print_json(result.to_json())
        return
    console().print(render(result))


def _worth(weights: dict[str, float]) -> tuple[float, float]:
    """What a share of cycles and of flash is worth in the ranking: as in the objective. What it does not name counts a
    tenth; both count alike where it names neither."""
    latency, flash = weights["latency"] + weights["energy"], weights["flash"]
    return (latency or 0.1 * flash, flash or 0.1 * latency) if latency or flash else (1.0, 1.0)
