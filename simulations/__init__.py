"""Everything on one machine: phantom hospitals, engines, experiments, reports."""
