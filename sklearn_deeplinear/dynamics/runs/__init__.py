"""How a network is moved and recorded: descent, flow, mini-batches."""
