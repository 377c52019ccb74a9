"""Engines other than torch that compute a reranker's scores on a processor: ONNX Runtime and OpenVINO."""
