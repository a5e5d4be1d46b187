"""Certificates, keys and start-up kits of a consortium."""
