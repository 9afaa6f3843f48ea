"""AUCs over a coefficient: Figures 5 and 6."""
