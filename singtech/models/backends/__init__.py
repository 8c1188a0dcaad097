"""Four ways to compute a deformable convolution, which agree: `reference`, `gathered`, `compiled` and `fused`.

Each takes features (B, C, F, T), offset (B, 2·M, F', T'), mask (B, M, F', T') or None, weight (O, C, kh, kw) and the
rows and columns of padding before the map, see `singtech.models.deformable.deform_conv2d`, which picks one.
"""
