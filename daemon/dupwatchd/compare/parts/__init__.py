"""Finds pictures that share a part: crops, frames, captions.

In reading order: `agreement` (when keypoints of two pictures show that the pictures share a part), `meeting` (which
keypoints are near), `packed` (the keypoints of many pictures), `search` (all pairs that share a part), which is done by
`few` (each picture with each other) or `trees`. What these are made of is compiled: `keypoint_tree` (near keypoints),
`joining` (from these to pairs of pictures), `voting` (the rule of `agreement`). `look` tells what such a pair is,
`surround` whether one is the other in a frame; `nearest` tells which pairs are stored.
"""
