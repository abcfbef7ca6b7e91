"""Automatic step sizes, from the curvature of the objective."""
