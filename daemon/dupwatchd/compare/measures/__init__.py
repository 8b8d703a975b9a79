"""How far two pictures are apart, exactly.

In reading order: `exact` (both measures, in whole numbers), `turns` (products in all four turns at once), `descriptors`
(32 numbers a picture that rule out most comparisons for certain), `matches` (which candidates match).
"""
