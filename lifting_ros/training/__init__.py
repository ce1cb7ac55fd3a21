"""Bodies, rendering, data sets and training loops; imported by the command line only."""
