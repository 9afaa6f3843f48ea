"""Descriptions of funnel tables as text, Markdown and pictures."""
