"""Backends of the deformable convolution that are written for one kind of device, imported only when used."""
