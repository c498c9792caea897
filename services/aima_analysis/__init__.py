"""Runs the models: analyzers as plug-ins, in processes of their own."""
