"""Doors on this machine: the control socket, over which updates come in, and sockets that tell of them."""
