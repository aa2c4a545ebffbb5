"""How fast ipyactors is, beside its peers and beside what the machine can do. ``python -m benchmarks`` runs it all."""
