"""Errors over clicked and unclicked exposures."""
