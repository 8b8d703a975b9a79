"""Verdicts: what two pictures that lie near each other are to one another. Proofs in, a verdict out; it stores nothing.

In reading order: `proof` (what is kept of a picture so that it can be looked at again), `register` (one picture laid
onto another), `laid` (the part that both show, on one grid), `tone` (one given the tones of the other), `light`
(both darkened where the other is darker), `values` and `colour` (what still differs), `verdict` (what that means),
`fine` (the same look at up to 1,600 px, on the decoded pictures). `pixels` is what OpenCV does for all of them.
"""
