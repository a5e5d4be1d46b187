"""What takes time, measured: run as ``python -m simulations.benchmarks.NAME [--json]``."""
