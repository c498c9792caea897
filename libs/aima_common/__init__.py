"""What every AIMA service shares, in five rooms.

`contracts` the words services say to each other · `ports` the sockets they plug into ·
`adapters` the plugs, one driver a file · `runtime` the life of a process ·
`wiring` the one place that chooses plugs for sockets.
"""

__version__ = "0.1.0"
