"""Knows the machines there are: their cores, memory and GPUs."""
