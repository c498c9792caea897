"""Measurements, one module each: `python -m benchmarks.NAME [--json]`.

Every figure is a ratio against a baseline of the same run, or a time with its median and spread;
machines are noisy, so runs are repeated and paired.
"""
