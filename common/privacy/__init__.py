"""Accounting and calibration: pure functions of public constants."""
