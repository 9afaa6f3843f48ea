"""The gap of probability space confusion, measured on the truth."""
