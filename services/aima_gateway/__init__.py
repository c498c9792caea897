"""The one HTTP door: who may come in, where it goes, and what is told on the way out.

Owns keys, idempotency records, counters and the security audit; everything else it reads, or asks for by message.
"""
