"""Backends of the deformable convolution that are written for one kind of device, each imported only when it is used."""
