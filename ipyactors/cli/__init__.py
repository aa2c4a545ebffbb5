"""The command line: ``ipyactors memory`` and what follows."""
