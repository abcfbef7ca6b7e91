"""Networks in training: their parameters, gradients, steps and measures."""
