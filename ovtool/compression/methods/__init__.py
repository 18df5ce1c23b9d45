"""One file a family of compression methods."""
