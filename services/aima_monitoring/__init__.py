"""Watches the whole: counts what happened, and checks that nothing was lost or done twice."""
