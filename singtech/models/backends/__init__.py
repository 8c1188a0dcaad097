"""How a deformable convolution is computed: `reference`, `gathered`, `compiled` and `fused`, all of them one operation.

Each takes features (B, C, F, T), offset (B, 2·M, F', T'), mask (B, M, F', T') or None, weight (O, C, kh, kw) and the
rows and columns of padding before the map, as `singtech.models.deformable.deform_conv2d` says, which picks one.
"""
