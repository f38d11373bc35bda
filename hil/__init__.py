"""hil: hardware in the loop. Boards (real or emulated), transports, the device protocol, and the measuring run."""
