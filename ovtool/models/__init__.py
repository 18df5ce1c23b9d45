"""What the user has -> an OpenVINO model, one file a kind; :mod:`.convert` saves a variant."""
