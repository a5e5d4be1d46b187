"""A site's processes: ``fedrounds client``."""
