"""The plugs: one file per product, and the only importers of their drivers."""
