"""Other packages' names for ours."""
