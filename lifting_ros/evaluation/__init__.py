"""Measures and tables; imported by the command line only."""
