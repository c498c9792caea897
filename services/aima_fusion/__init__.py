"""Makes one picture out of many findings."""
