"""What an attacker can tell from a training under privacy, beside the ε that is claimed for it."""
