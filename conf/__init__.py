"""Hydra groups, shipped as package data; this package holds no code."""
