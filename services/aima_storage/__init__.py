"""Keeps bytes: knows where they lie, checks that they are still right, and erases them on request."""
