"""Real data for training and measuring: images and spoken digits, from the benchmark data folder.

Both come with a fixed split; nothing depends on the machine or the run.
"""

from __future__ import annotations

import io
import itertools
import re
import tarfile
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from tinyopt.errors import DataError
from tinyopt.graph import Array
from tinyopt.train import Dataset

CIFAR10_VALIDATION = 5000
"""The last images of the training part, whose order is random in the file."""


@dataclass(frozen=True, eq=False)
class Split:
    """Training, validation and test data of one task, and the names of its classes."""

    train: Dataset
    validation: Dataset
    test: Dataset
    classes: tuple[str, ...]


def cifar10(folder: Path, *, scale: float = 1.0, limit: int | None = None) -> Split:
    """CIFAR-10 (Krizhevsky 2009) from ``cifar10_jpeg.npz``: float32 [samples, 32, 32, 3], RGB, 0 to 255 times
    ``scale``. 45,000 images for training, 5,000 for validation, 10,000 for tests; at most ``limit`` of each.

    The images were JPEG-compressed once (quality 75, chroma at half resolution), which a network that was trained on
    the originals notices: see docs/training.md.

    Raises:
        DataError: when the file is absent or damaged.
    """
    from PIL import Image

    path = folder / "cifar10_jpeg.npz"
    if not path.is_file():
        raise DataError(f"there is no '{path}'; name the data folder with TINYOPT_DATA")

    def decode(part: str, first_image: int, last_image: int | None) -> Dataset:
        chosen = slice(first_image, last_image)
        labels = archive[f"{part}_labels"][chosen][:limit].astype(np.int64)
        content, offsets = archive[f"{part}_jpeg"], archive[f"{part}_offsets"][first_image:][: len(labels) + 1]
        images = np.empty((len(offsets) - 1, 32, 32, 3), np.float32)
        for index, (first, last) in enumerate(itertools.pairwise(offsets)):
            images[index] = np.asarray(Image.open(io.BytesIO(content[first:last].tobytes())).convert("RGB"))
        images *= np.float32(scale)
        return Dataset((images,), labels, f"CIFAR-10, {part}")

    with np.load(path) as packed:
        archive = {name: packed[name] for name in packed.files}
    count = len(archive["train_labels"]) - CIFAR10_VALIDATION
    classes = tuple(str(name) for name in archive["classes"])
    return Split(decode("train", 0, count), decode("train", count, None), decode("test", 0, None), classes)


# ---- spoken digits ----------------------------------------------------------------------------------------------

RATE = 8000
FRAME, HOP, FFT = 256, 160, 256
"""Samples: frames of 32 ms every 20 ms, so that one second gives 49 of them."""
MEL_BANDS, MEL_LOW, MEL_HIGH = 40, 20.0, 4000.0


@dataclass(frozen=True, eq=False)
class Recording:
    """One spoken digit: mono audio float32 in -1..1 at 8 kHz."""

    digit: int
    speaker: str
    index: int
    audio: Array


def recordings(folder: Path) -> list[Recording]:
    """The Free Spoken Digit Dataset from ``fsdd.tar.xz``, in order of digit, speaker and index.

    Raises:
        DataError: when the file is absent.
    """
    path = folder / "fsdd.tar.xz"
    if not path.is_file():
        raise DataError(f"there is no '{path}'; name the data folder with TINYOPT_DATA")
    found = []
    with tarfile.open(path) as archive:
        for member in archive:
            name = re.fullmatch(r"recordings/(\d)_([a-z]+)_(\d+)\.wav", member.name)
            stream = archive.extractfile(member) if name else None
            if name is None or stream is None:
                continue
            with wave.open(io.BytesIO(stream.read())) as sound:
                if (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) != (RATE, 1, 2):
                    raise DataError(f"'{member.name}' is not mono 16-bit audio at {RATE} Hz")
                audio = np.frombuffer(sound.readframes(sound.getnframes()), "<i2").astype(np.float32) / 32768
            found.append(Recording(int(name[1]), name[2], int(name[3]), audio))
    return sorted(found, key=lambda r: (r.digit, r.speaker, r.index))


def one_second(audio: Array) -> Array:
    """Audio in the middle of one second: zeros around it, or its ends cut."""
    if len(audio) > RATE:
        first = (len(audio) - RATE) // 2
        return audio[first : first + RATE]
    before = (RATE - len(audio)) // 2
    return np.pad(audio, (before, RATE - len(audio) - before))


def log_mel(audio: Array) -> Array:
    """Log mel energies float32 [49, 40] of one second of audio."""
    frames = np.lib.stride_tricks.sliding_window_view(audio, FRAME)[::HOP]
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(FRAME), FFT)) ** 2
    result: Array = np.log(spectrum @ _mel_filters().T + 1e-6).astype(np.float32)
    return result


def mfcc(audio: Array, coefficients: int = 10) -> Array:
    """Mel-frequency cepstral coefficients float32 [49, coefficients] of one second of audio (orthonormal DCT-II)."""
    bands = np.arange(MEL_BANDS)
    basis = np.cos(np.pi / MEL_BANDS * (bands + 0.5) * np.arange(coefficients)[:, None]) * np.sqrt(2 / MEL_BANDS)
    basis[0] /= np.sqrt(2)
    result: Array = (log_mel(audio) @ basis.T).astype(np.float32)
    return result


def _mel_filters() -> Array:
    """Triangles [bands, FFT/2+1] that are evenly spaced on the mel scale (O'Shaughnessy 1987)."""
    low, high = (2595 * np.log10(1 + f / 700) for f in (MEL_LOW, MEL_HIGH))
    edges = 700 * (10 ** (np.linspace(low, high, MEL_BANDS + 2) / 2595) - 1)
    bins = np.arange(FFT // 2 + 1) * RATE / FFT
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    result: Array = np.maximum(0, np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)))
    return result


def spoken_digits(
    folder: Path, *, features: Literal["mfcc", "log_mel"] = "mfcc", test_speaker: str | None = None
) -> Split:
    """Spoken digits as features float32 [samples, 49, 10 or 40, 1], each coefficient with mean 0 and deviation 1 over
    the training part.

    The split of the data's authors: of every digit and speaker, recordings 0 to 4 are for tests (300); 5 to 9 are
    taken for validation (300), the rest (2,400) for training. With ``test_speaker``, all recordings of that speaker
    are the tests instead, so that the network has never heard the voice.

    Raises:
        DataError: when the file is absent or has no such speaker.
    """
    every = recordings(folder)
    speakers = {r.speaker for r in every}
    if test_speaker is not None and test_speaker not in speakers:
        raise DataError(f"there is no speaker '{test_speaker}'; there are {', '.join(sorted(speakers))}")
    compute = mfcc if features == "mfcc" else log_mel
    x = np.stack([compute(one_second(r.audio)) for r in every])[..., None]
    labels = np.array([r.digit for r in every], np.int64)
    index = np.array([r.index for r in every])
    own = np.array([r.speaker == test_speaker for r in every])
    tests = own if test_speaker is not None else index < 5
    held_out = ~tests & (index >= 5) & (index < 10)
    rest = ~tests & ~held_out
    mean, deviation = x[rest].mean((0, 1), np.float64), x[rest].std((0, 1), np.float64)
    x = ((x - mean) / deviation).astype(np.float32)
    train, validation, test = (Dataset((x[part],), labels[part], "spoken digits") for part in (rest, held_out, tests))
    return Split(train, validation, test, tuple(str(digit) for digit in range(10)))
