"""Settings that every test shares: reproducible examples, and where the benchmark data is."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "tinyopt",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
settings.load_profile("tinyopt")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that starts the tests in the background has them ignore Ctrl-C, which some of them are about.
    signal.signal(signal.SIGINT, signal.default_int_handler)

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def no_tuning_tables(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What somebody tuned on this machine does not change what the tests plan."""
    os.environ["XDG_DATA_HOME"] = str(tmp_path_factory.mktemp("data_home"))


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The benchmark data folder; the test is skipped where it is absent."""
    folder = Path(os.environ.get("TINYOPT_DATA", CHECKOUT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no benchmark data: {folder} is absent (set TINYOPT_DATA)")
    return folder


@pytest.fixture(scope="session")
def mlperf(data_folder: Path) -> Path:
    """The folder of the MLPerf Tiny models."""
    return data_folder / "mlperf-tiny"
