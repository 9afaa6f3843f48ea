"""Work on folders of funnel tables."""
