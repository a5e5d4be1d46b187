"""What a site sees of its own images before and while it trains: checks, reports, notes."""
