"""Where the time of one compiled model goes, and what its graph asks for."""
