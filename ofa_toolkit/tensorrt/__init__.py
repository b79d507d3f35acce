"""TensorRT engines, shared by timing and export. Needs the package tensorrt only when used."""
