"""Writes what people read: versions of a document about a case, each statement with where it came from."""
