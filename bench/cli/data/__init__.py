"""Import, describe, check and calibrate logs, as folders of funnel tables."""
