"""tinyopt: trained neural networks, made small, on microcontrollers, measured.

The public API is loaded on first use, so that ``import tinyopt`` is fast and needs neither torch nor onnx.
"""

__version__ = "0.1.0"
