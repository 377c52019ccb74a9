"""How the folder of each stage is filled: tools from the workshop in, files out. One module per part of the chain."""
