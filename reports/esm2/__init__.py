"""What the exhibits of the ESM² paper's tables share."""
