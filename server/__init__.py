"""The coordinator's side: rounds, aggregation, results. Never imports the client."""
