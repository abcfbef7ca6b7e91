"""Generators and loaders of data."""
