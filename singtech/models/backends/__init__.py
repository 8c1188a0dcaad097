"""Four ways to compute a deformable convolution, with the same results: by torchvision, gathering, Numba and Triton.

Each takes features (B, C, F, T), offset (B, 2·M, F', T'), mask (B, M, F', T') or None, weight (O, C, kh, kw), and the
rows and columns of padding above and left of the map. `singtech.models.deformable.deform_conv2d` picks one of them.
"""
