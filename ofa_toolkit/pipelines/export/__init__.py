"""From a chosen subnet to checked files: networks, ONNX, TensorRT engines, bundles."""
