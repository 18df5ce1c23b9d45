"""Compression: methods that turn one variant into a smaller or faster one.

Modules import only from those before them: method, registry, layer_selection, nncf_adapter,
training, distillation, networks, ptq, layer_sensitivity, accuracy, codebook, kmeans,
shared_weights, methods/ (one file a family), execution_check, pipeline, compress, sensitivity.
"""
