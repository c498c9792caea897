"""Decides what is analysed next, where, and when to give up."""
