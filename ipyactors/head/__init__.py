"""The control plane: who is there, who may use which worker, what becomes of actors. Knows no other role."""
