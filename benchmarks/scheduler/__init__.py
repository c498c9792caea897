"""How well the scheduler decides, and how fast: against the founding document's rules and published figures."""
