"""Values in shared memory, on one machine: the files, who may write and map them, what is left of them."""
