"""Metrics with intervals, calibration, operating points and the report."""
