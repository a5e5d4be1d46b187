"""A trained model, used by whoever holds the images: score, evaluate, explain, export."""
