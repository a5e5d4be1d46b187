"""What takes time, measured: ``python -m simulations.benchmarks.NAME --help`` says how."""
