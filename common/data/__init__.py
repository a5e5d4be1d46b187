"""From a hospital's files to tensors: manifest, readers, patient-grouped split, transforms."""
