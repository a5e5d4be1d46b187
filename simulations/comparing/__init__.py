"""``fedrounds compare``: finished runs beside each other."""
