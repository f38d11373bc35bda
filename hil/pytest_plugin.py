"""pytest plugin: tests of models on boards, emulated or hardware.

    pytest --board mps2_an386 --hil-model model.tflite --hil-data test.npz tests_on_boards/
    pytest --board nucleo_l4r5zi --board emulated_l4r5zi --port nucleo_l4r5zi=auto

Fixtures, once per board that ``--board`` names (a test that asks for one runs on each of them):

- ``board``: the ``tinyopt.board.Board``.
- ``hil_model``: the model, a ``tinyopt.graph.Graph``; from ``--hil-model``, or override it in a conftest.
- ``hil_data``: ``tinyopt.data.Samples``; from ``--hil-data`` (files, or ``random:SEED:COUNT``), or override it.
- ``hil_plan``, ``hil_firmware``: the model planned and built for the board with the measuring firmware.
- ``device``: the started board with its console open (``hil.device.Device``), for tests that speak for themselves.
- ``meter``: the energy meter of ``--hil-meter``.
- ``measurement``: the data through the board (``BoardMeasurement``); its figures go into the JUnit report.

A test is skipped, with the reason, where no board is named, the board is absent, or its emulator is not installed. A
board that is there and fails makes the test fail.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tinyopt.errors import TinyoptError

if TYPE_CHECKING:
    from hil.device import Device
    from hil.meters import Meter
    from tinyopt.board import Board
    from tinyopt.build import Firmware
    from tinyopt.data import Samples
    from tinyopt.graph import Graph
    from tinyopt.plan import Plan

DEFAULT_DATA = "random:0:8"


@dataclass(frozen=True, eq=False)
class BoardMeasurement:
    """A data set through a board.

    ``summary`` is the last line of the results file ``path`` (see docs/measuring.md): every figure by name, with where
    it comes from. The properties are those that tests ask for most.
    """

    board: Board
    summary: Mapping[str, Any]
    path: Path
    flash_bytes: int
    ram_bytes: int

    @property
    def accuracy(self) -> float:
        """Share of right answers, 0 to 1.

        Raises:
            TinyoptError: the data have no labels.
        """
        value = self.summary["accuracy"]
        if value is None:
            raise TinyoptError("there is no accuracy: the data have no labels (--hil-data)")
        return float(value)

    @property
    def mismatches(self) -> int:
        """Samples whose outputs differ from the reference executor's."""
        return int(self.summary["mismatches"])

    @property
    def latency_us(self) -> float:
        """Median time of an inference in microseconds; of an emulated board an estimate."""
        return float(self.summary["latency"]["median_us"])

    @property
    def p95_us(self) -> float:
        """95 % of the inferences took no longer, in microseconds."""
        return float(self.summary["latency"]["p95_us"])

    @property
    def cycles(self) -> int | None:
        """Of one inference; of an emulated board an estimate. None: the board cannot tell."""
        value = self.summary["cycles"]
        return None if value is None else int(value)

    @property
    def energy_uj(self) -> float | None:
        """Of one inference, in microjoules: measured with a meter, else estimated (``summary["energy"]["source"]`` says
        which); None: neither is possible."""
        energy = self.summary["energy"]
        return None if energy is None else float(energy["nj"]) / 1000

    @property
    def arena_bytes(self) -> int:
        return int(self.summary["arena_bytes"])

    @property
    def stack_bytes(self) -> int | None:
        value = self.summary["stack_bytes"]
        return None if value is None else int(value)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tinyopt", "models on boards")
    group.addoption("--board", action="append", default=[], metavar="NAME", help="board to test on; may be repeated")
    group.addoption(
        "--port",
        action="append",
        default=[],
        metavar="[BOARD=]PORT",
        help="serial port of a hardware board, or auto; with several boards one for each",
    )
    group.addoption("--hil-model", metavar="FILE", help="model that the boards run")
    group.addoption("--hil-data", metavar="DATA", default=DEFAULT_DATA, help=f"its data (default: {DEFAULT_DATA})")
    group.addoption("--hil-limit", type=int, default=0, metavar="N", help="only the first N samples")
    group.addoption("--hil-meter", metavar="METER", help="energy meter, as for `tinyopt hil run --meter`")
    group.addoption("--hil-no-flash", action="store_true", help="measure the firmware that is on the board")
    group.addoption("--hil-results", metavar="FOLDER", help="keep the results files here, one for each board")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "board" in metafunc.fixturenames and metafunc.definition.get_closest_marker("parametrize") is None:
        names = list(dict.fromkeys(metafunc.config.getoption("--board")))
        metafunc.parametrize("board", names or [None], indirect=True, ids=names or ["no board"], scope="session")


def _port(config: pytest.Config, board: Board) -> str | None:
    """The port of a board: the one that names it, else the one that names none."""
    general = None
    for given in config.getoption("--port"):
        match = re.fullmatch(r"([a-z][a-z0-9_]*)=(.+)", given)
        if match is None:
            general = str(given)
        elif match[1] == board.name:
            return match[2]
    return None if board.is_emulated else general


def absence(board: Board, port: str | None) -> str | None:
    """Why a board cannot be tested here, or None where it is within reach."""
    from hil.discover import board_ports

    if board.emulator is not None and port in (None, "auto"):
        program = board.emulator.program
        missing = program != "host" and shutil.which(program) is None
        return f"the emulator {program} of board '{board.name}' is not installed" if missing else None
    if port is None:
        return f"board '{board.name}' is hardware and no port was named: --port auto, or --port {board.name}=PORT"
    if port == "auto":
        return None if board_ports(board) else f"board '{board.name}' is not connected: no USB port looks like it"
    if "://" not in port and not Path(port).exists():
        return f"board '{board.name}' is not connected: there is no port {port}"
    return None


@pytest.fixture(scope="session")
def board(request: pytest.FixtureRequest) -> Board:
    """The board under test; skips where there is none."""
    from tinyopt.board import load_board

    name = getattr(request, "param", None)
    if name is None:
        pytest.skip("no board was named: pytest --board NAME (`tinyopt boards list` shows the names)")
    try:
        chosen = load_board(name)
    except TinyoptError as error:
        raise pytest.UsageError(str(error)) from None
    reason = absence(chosen, _port(request.config, chosen))
    if reason:
        pytest.skip(reason)
    return chosen


@pytest.fixture(scope="session")
def hil_model(request: pytest.FixtureRequest) -> Graph:
    """The model of ``--hil-model``."""
    from tinyopt.importers import load

    path = request.config.getoption("--hil-model")
    if path is None:
        pytest.skip("no model was named: pytest --hil-model FILE, or a fixture hil_model in conftest.py")
    return load(path)


@pytest.fixture(scope="session")
def hil_data(request: pytest.FixtureRequest, hil_model: Graph) -> Samples:
    """The data of ``--hil-data``, brought to the form of the model's inputs."""
    from tinyopt.data import load_samples

    samples = load_samples(request.config.getoption("--hil-data"), hil_model)
    limit = request.config.getoption("--hil-limit")
    return samples.limit(limit) if limit else samples


@pytest.fixture(scope="session")
def hil_plan(hil_model: Graph, board: Board) -> Plan:
    """The model planned for the board."""
    from tinyopt.pipeline import plan_for

    return plan_for(hil_model, board)


@pytest.fixture(scope="session")
def hil_firmware(hil_plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Firmware:
    """The measuring firmware with the model."""
    from tinyopt.build import build
    from tinyopt.generate import generate

    return build(generate(hil_plan, tmp_path_factory.mktemp("hil") / "project", harness=True))


@pytest.fixture
def device(request: pytest.FixtureRequest, board: Board, hil_firmware: Firmware) -> Iterator[Device]:
    """The started board; released after each test."""
    from hil.opening import open_device

    flash = not request.config.getoption("--hil-no-flash")
    with open_device(board, hil_firmware, port=_port(request.config, board), flash=flash) as opened:
        yield opened


@pytest.fixture
def meter(request: pytest.FixtureRequest, board: Board) -> Iterator[Meter]:
    """The energy meter of ``--hil-meter``, open; released after each test."""
    from hil.meters import open_meter

    address = request.config.getoption("--hil-meter")
    if address is None:
        pytest.skip("no energy meter was named: pytest --hil-meter METER")
    with open_meter(address) as opened:
        yield opened


@pytest.fixture(scope="session")
def _measured(
    request: pytest.FixtureRequest,
    board: Board,
    hil_model: Graph,
    hil_data: Samples,
    hil_firmware: Firmware,
    tmp_path_factory: pytest.TempPathFactory,
) -> BoardMeasurement:
    from hil.bench import Job, Judge, firmware_id, results_header, run_job
    from hil.meters import open_meter
    from hil.opening import open_device

    port = _port(request.config, board)
    meter_address = request.config.getoption("--hil-meter")
    flash = not request.config.getoption("--hil-no-flash")
    kept = request.config.getoption("--hil-results")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("results")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{board.name}.jsonl"
    job = Job(
        board=board,
        judge=Judge(hil_model, hil_data, reset_each=False),
        header=results_header(
            board=board.name,
            emulated=board.is_emulated,
            model={"name": hil_model.name},
            firmware={"flash_bytes": hil_firmware.flash_bytes, "ram_bytes": hil_firmware.ram_bytes},
            data={"source": hil_data.source, "samples": len(hil_data)},
            options={"reset_each": False, "save_outputs": False},
            seed=None,
        ),
        open_device=lambda: open_device(board, hil_firmware, port=port, flash=flash),
        firmware=hil_firmware.elf,
        firmware_id=firmware_id(hil_firmware),
        emulated=board.is_emulated,
        starts_here=board.is_emulated and port in (None, "auto"),
        open_meter=None if meter_address is None else lambda: open_meter(meter_address),
    )
    outcome = run_job(job, path, force=True)
    return BoardMeasurement(board, outcome.summary, path, hil_firmware.flash_bytes, hil_firmware.ram_bytes)


@pytest.fixture
def measurement(_measured: BoardMeasurement, record_property: Any) -> BoardMeasurement:
    """The data set through the board, once a session; its figures go into the JUnit report of every test that asks."""
    figures = {
        "board": _measured.board.name,
        "emulated": _measured.summary["emulated"],
        "samples": _measured.summary["samples"],
        "accuracy": _measured.summary["accuracy"],
        "mismatches": _measured.mismatches,
        "latency_us": _measured.latency_us,
        "latency_source": _measured.summary["latency_source"],
        "cycles": _measured.cycles,
        "energy_uj": _measured.energy_uj,
        "energy_source": (_measured.summary["energy"] or {}).get("source"),
        "flash_bytes": _measured.flash_bytes,
        "ram_bytes": _measured.ram_bytes,
    }
    for name, value in figures.items():
        if value is not None:
            record_property(name, value)
    return _measured
