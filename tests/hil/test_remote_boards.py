"""A board server lends an emulated board: it is flashed, restarted and measured through the network."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hil.opening import open_device
from hil.protocol import BlockClient
from hil.remote import BoardServer, BoardService
from tests.support import blob_task
from tinyopt.board import load_board
from tinyopt.build import Firmware, build
from tinyopt.data import load_samples
from tinyopt.errors import DeviceError, TinyoptError
from tinyopt.generate import generate
from tinyopt.pipeline import plan_for, reference_outputs

GRAPH = blob_task.network()


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Firmware:
    board = load_board("mps2_an386")
    return build(generate(plan_for(GRAPH, board), tmp_path_factory.mktemp("remote") / "project", harness=True))


@pytest.fixture
def server() -> Iterator[BoardServer]:
    with BoardServer(load_board("mps2_an386")) as running:
        yield running


def address(server: BoardServer) -> str:
    return f"remote://127.0.0.1:{server.control_port}"


def test_a_lent_board_computes_what_the_reference_does(server: BoardServer, firmware: Firmware) -> None:
    samples = load_samples("random:3:4", GRAPH)
    wanted = reference_outputs(GRAPH, samples)
    with open_device(server.board, firmware, port=address(server)) as device:
        assert f"port {server.control_port}" in device.name
        for _ in range(2):
            client = BlockClient(device.transport, timeout=60)
            client.find()
            for sample, outputs in zip(samples, wanted):
                reply = client.run([array.tobytes() for array in sample.values()])
                got = np.frombuffer(reply.outputs[0], np.float32).reshape(outputs[0].shape)
                np.testing.assert_allclose(got, outputs[0], rtol=1e-5, atol=1e-6)
            device.restart()
    with BoardService("127.0.0.1", server.control_port) as service:
        assert service.status()["running"] is False


def test_a_board_that_is_in_use_is_not_lent_twice(server: BoardServer, firmware: Firmware) -> None:
    with (
        open_device(server.board, firmware, port=address(server)),
        pytest.raises(DeviceError, match="in use by somebody else"),
        open_device(server.board, firmware, port=address(server)),
    ):
        pass


def test_another_board_is_refused(server: BoardServer, firmware: Firmware) -> None:
    with (
        pytest.raises(DeviceError, match="has the board 'mps2_an386', not 'mps2_an385'"),
        open_device(load_board("mps2_an385"), firmware, port=address(server)),
    ):
        pass


@pytest.mark.parametrize(
    "hostile",
    [
        b"\n",
        b"[]\n",
        b"x" * 70_000,
        b"[" * 50_000 + b"\n",
        b'{"do": "flash", "bytes": -1}\n',
        b'{"do": "flash", "bytes": 1e9}\n',
        b'{"do": "flash", "bytes": 4, "sha256": "0"}\nABCD',
        b'{"do": "format the disk"}\n',
        b'{"do": "restart"}\n',
        bytes(range(256)),
    ],
)
def test_hostile_requests_are_refused_and_the_server_lives(server: BoardServer, hostile: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.control_port), timeout=10) as connection:
        connection.sendall(hostile)
        connection.shutdown(socket.SHUT_WR)
        said = b""
        while data := connection.recv(4096):
            said += data
    assert not said or b'"ok": false' in said
    with BoardService("127.0.0.1", server.control_port) as service:
        assert service.status()["board"] == "mps2_an386"


def test_a_file_that_is_no_firmware_ends_with_what_the_other_end_says(server: BoardServer, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.elf"
    wrong.write_bytes(b"this is no firmware")
    with (
        pytest.raises(DeviceError),
        open_device(server.board, wrong, port=address(server)) as device,
    ):
        client = BlockClient(device.transport, timeout=5)
        client.find()


@pytest.mark.parametrize("wrong", ["remote:", "remote://", "remote://a b", "labgrid://a b/c", "remote://127.0.0.1:1"])
def test_addresses_that_lead_nowhere_are_named(wrong: str) -> None:
    with (
        pytest.raises(TinyoptError, match=r"is not the address|cannot reach"),
        open_device(load_board("mps2_an386"), None, port=wrong),
    ):
        pass


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(DeviceError, match=f"cannot listen on 127.0.0.1, port {port}"):
            BoardServer(load_board("host"), control_port=port)
