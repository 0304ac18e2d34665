"""Budgets of a project, and the check of models against them."""
