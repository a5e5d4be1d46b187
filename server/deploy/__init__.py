"""The coordinator's processes: ``fedrounds server``."""
