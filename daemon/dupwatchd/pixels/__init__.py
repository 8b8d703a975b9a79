"""What is worked out from the pixels of one picture alone, by decode workers and by comparing alike.

In reading order: `frames` (what is kept of animations and pages), `proof` (what is kept to look at a picture again),
`margins` (what lies within a frame of one colour), `keypoints` (by which a part of a picture is found again), `signs`
(colour, the grid of a JPEG), `blocks` (8 × 8 cosine transforms), `levels` (resizing, blurring and the like; the only
other home of OpenCV beside `index/`).
"""
