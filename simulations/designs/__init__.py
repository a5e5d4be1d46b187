"""Validation designs: what a federation's model is compared with, in one command."""
