"""What the two figures of the ESM² paper are made of."""
