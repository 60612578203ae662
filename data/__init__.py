"""Training data: where frames come from, and how three of them become a training sample."""
