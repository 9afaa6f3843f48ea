"""The audit: checks of the papers' printed figures against each other."""
