"""Accuracy suites: estimates beside times that were measured, over many cases."""
