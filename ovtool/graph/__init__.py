"""Analysis of graphs: operations, weights, FLOPs, storage."""
