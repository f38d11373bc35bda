"""What layers take, as a table and as a file: what a board cannot tell is a dash or empty, never zero."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from rich.console import Console

from tinyopt.errors import DataError
from tinyopt.report import LayerReport, LayerTable, write_csv
from tinyopt.report.layers import layer_facts, shares

EMULATED = (
    LayerReport("conv", "Conv2d", "conv2d_s8_dsp_4x2", 1000, 72, 1500, 2000, 1900.0, None, 640, 80, 554.0),
    LayerReport("softmax", "Softmax", "softmax_s8_ref", 0, 0, 400, 500, 450.0, None, 12, 10, 138.5),
)
ON_CLOCK = (LayerReport("conv", "Conv2d", "conv2d_s8_ref", 1000, 72, predicted_cycles=1900.0, nanoseconds=3000),)
SILENT = (LayerReport("conv", "Conv2d", "conv2d_s8_ref", 1000, 72),)


def shown(layers: tuple[LayerReport, ...], width: int) -> str:
    console = Console(width=width, file=None)
    with console.capture() as capture:
        console.print(LayerTable(layers))
    return capture.get()


@pytest.mark.parametrize("width", [60, 80, 100, 160, 240])
def test_the_table_fits_the_terminal(width: int) -> None:
    lines = shown(EMULATED, width).splitlines()
    assert max(len(line) for line in lines) <= width
    assert any("2,000" in line for line in lines), "cycles are shown however narrow the terminal is"
    assert all("…" not in line for line in lines if "2,000" in line), "what is shown is shown whole"


def test_a_wide_table_has_every_column_and_a_narrow_one_names_what_it_leaves_out() -> None:
    wide, narrow = shown(EMULATED, 240), shown(EMULATED, 80)
    columns = ("operator", "weights", "instructions", "predicted", "read", "written", "nJ", "cycles/MAC", "share")
    for column in columns:
        assert column in wide and column in narrow.replace("\n", " ")
    assert "not shown" in narrow and "not shown" not in wide
    assert "2.00" in wide and "80.0%" in wide and "1,900" in wide


def test_layers_are_compared_by_the_best_that_the_board_can_tell() -> None:
    assert EMULATED[0].time_per_mac == 2.0
    assert ON_CLOCK[0].time_per_mac == 3.0
    assert SILENT[0].time_per_mac is None
    assert shares(EMULATED) == [0.8, 0.2]
    assert shares(SILENT) == [None]
    assert "ns/MAC" in shown(ON_CLOCK, 240)


def test_what_a_board_cannot_tell_is_a_dash() -> None:
    row = next(line for line in shown(SILENT, 240).splitlines() if "conv2d_s8_ref" in line)
    assert row.count("–") == 4, "instructions, cycles, their ratio to MACs and the share"
    assert "│ 0 " not in row and "0.0%" not in row


def test_the_file_holds_everything_and_leaves_unknown_values_empty(tmp_path: Path) -> None:
    path = tmp_path / "layers.csv"
    write_csv((*EMULATED, *SILENT), path)
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["name"] for row in rows] == ["conv", "softmax", "conv"]
    assert rows[0]["cycles_per_mac"] == "2.0" and rows[0]["bytes_read"] == "640" and rows[0]["energy_nj"] == "554.0"
    assert rows[1]["cycles_per_mac"] == ""
    assert rows[2]["cycles"] == rows[2]["share"] == rows[2]["bytes_written"] == ""
    assert layer_facts(ON_CLOCK)[0]["ns_per_mac"] == 3.0


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent/layers\.csv"):
        write_csv(EMULATED, tmp_path / "absent" / "layers.csv")
