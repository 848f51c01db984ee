"""Measurements: ratios within one run, on one machine, never a test."""
