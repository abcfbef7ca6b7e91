"""Running the equations: gradient descent and gradient flow, recorded."""
