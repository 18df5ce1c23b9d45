"""What a graph holds and asks for: operations, weights, FLOPs, storage."""
