"""CMSIS-NN as the user has it: where its sources are, what they declare, what its functions need.

Nothing of CMSIS-NN is part of tinyopt. A library is read from a folder, a CMSIS-Pack or a PlatformIO library
(``open_library``); its functions' signatures are read from its headers, and the sizes of their buffers by calling its
own functions (``buffer_size``).
"""

from tinyopt.cmsis_nn.buffers import buffer_size
from tinyopt.cmsis_nn.library import Library, open_library

__all__ = ["Library", "buffer_size", "open_library"]
