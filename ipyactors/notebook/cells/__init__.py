"""From the text of a cell to the functions and classes that it defines."""
