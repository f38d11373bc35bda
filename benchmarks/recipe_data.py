"""Data and an untrained network for recipes on spoken digits.

``python -m benchmarks.recipe_data -o FOLDER`` writes ``train.npz``, ``validation.npz``, ``test.npz`` and
``ds_cnn.tinyopt``, which ``docs/recipes/spoken_digits.yaml`` names. The data come from the folder TINYOPT_DATA.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from benchmarks.training import data_folder, digits
from tinyopt.errors import TinyoptError
from tinyopt.graph import save_graph


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the files")
    parser.add_argument("--channels", type=int, default=64, help="of the network")
    parser.add_argument("--test-speaker", help="test on a voice that training has not heard")
    arguments = parser.parse_args()
    try:
        data_folder()
        graph, data, _, _ = digits(arguments.channels, arguments.test_speaker)
    except TinyoptError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    arguments.output.mkdir(parents=True, exist_ok=True)
    save_graph(graph, arguments.output / "ds_cnn.tinyopt")
    for name, part in (("train", data.train), ("validation", data.validation), ("test", data.test)):
        np.savez(arguments.output / f"{name}.npz", x=part.inputs[0], y=part.targets)
        print(f"{name}: {len(part)} samples")
    return 0


if __name__ == "__main__":
    sys.exit(main())
