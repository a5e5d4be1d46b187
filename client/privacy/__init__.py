"""Poisson sampling, the clip and the noise. The server cannot import any of it."""
