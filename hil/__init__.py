"""hil: hardware in the loop. Boards (real or emulated), transports, the device protocol, and the measuring run."""

from hil.runner import Cost, Measurement, Traffic, measure

__all__ = ["Cost", "Measurement", "Traffic", "measure"]
