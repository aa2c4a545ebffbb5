"""The face in IPython and Jupyter: magics, tracebacks, output, tables and plots. Needs the extra ``[notebook]``."""
