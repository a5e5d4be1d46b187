"""Files that no reader may trust, made by a script: none of them stands in the repository."""
