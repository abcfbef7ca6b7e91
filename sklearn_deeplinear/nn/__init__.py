"""Initial weights and network modules, in torch; no training."""
