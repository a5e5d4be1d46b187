"""A hospital's side: its images, its policy, its ledger, its training."""
