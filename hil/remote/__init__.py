"""Boards on other computers: a server that lends one board over the network, and the lab that says who may use it."""

from hil.remote.client import BoardService, open_remote_device
from hil.remote.labgrid import acquired_board
from hil.remote.network import is_network_address, open_over_network
from hil.remote.server import BoardServer

__all__ = [
    "BoardServer",
    "BoardService",
    "acquired_board",
    "is_network_address",
    "open_over_network",
    "open_remote_device",
]
