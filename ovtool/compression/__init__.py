"""Compression: methods that turn one variant into a smaller or faster one.

Modules import only from those above them in this list:

    method            what a method is: settings, inputs, context, result
    registry          the table of methods; their settings, parsed and described
    layer_selection   which layers of a graph or a network a method applies to
    nncf_adapter      running NNCF quietly; calibration samples as NNCF reads them
    training          the training loop
    distillation      training with a teacher, for every method that trains
    networks          PyTorch networks of variants: restoring, editing, converting, their cost
    ptq               post-training quantization by NNCF
    layer_sensitivity, accuracy          what quantizing each layer costs; the search within a limit
    codebook, kmeans, shared_weights     weights as a table of shared values
    methods/          one file a family of methods
    execution_check, pipeline            one method applied to one variant, checked and recorded
    compress, sensitivity                the verbs
"""
