"""Source models read into OpenVINO models, one file per format; :mod:`.convert` saves a variant."""
