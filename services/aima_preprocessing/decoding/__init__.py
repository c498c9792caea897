"""Decoding, as it runs inside the sandboxed child: PyAV and Pillow are imported here and nowhere else."""
