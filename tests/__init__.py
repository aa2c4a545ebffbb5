"""What holds the promise: unit, cluster, chaos, notebook and browser tests."""
