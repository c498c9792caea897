"""The same sockets on one machine, without a server."""
