"""Takes media in, whole and once: what it says yes to is durable, verified and on its way.

Owns cases, upload sessions, items and media.
"""
