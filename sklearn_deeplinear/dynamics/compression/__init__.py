"""The same run in the few dimensions in which a network moves."""
