"""The pictures of :mod:`ipyactors.plots`: what is drawn (rows, pure) and how."""
