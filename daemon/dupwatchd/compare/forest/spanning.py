"""Of all matches, the few that join the same clusters at every threshold: minimum spanning forests.

The pictures joined by matches up to a threshold are the same whether all matches are taken or only those of a minimum
spanning forest. Each measure has a forest of its own, over the matches within its limit, and another one where mirror
images count too. Their union is kept: less than one match per picture and forest, however many there are.

Matches of equal value go by a, b, mirrored. With that each forest is unique: the order of the rows does not matter,
and forests may be taken part by part, for the last match of a cycle stays its last whatever else comes.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from dupwatchd.arrays import Matches
from dupwatchd.components import components, followed, renumbered
from dupwatchd.model import Limits

_LIGHT_EDGES = 3  # per vertex: as many at random leave 1 vertex in 400 alone, and nearly all other edges can go

Rows = NDArray[np.int64]
Which = NDArray[np.bool_]
Values = NDArray[np.float64]
Thinning = Callable[[Rows, Rows, Values, Rows], Rows]  # edges a and b, their values, rows to take (ascending): to keep


def spanning(matches: Matches, limits: Limits) -> Which:
    """Which of the matches (M,) are to be kept; of those that are there twice at most one, with an own value if any.

    A million matches take 0.07 s if they are of 2,000 pictures, 0.8 s if of 500,000, and 150 bytes each at most.
    """
    hopeful = np.zeros(len(matches), bool)
    for rows in _graphs(matches, limits, _sieved):
        hopeful[rows] = True
    places = np.flatnonzero(hopeful)
    places = places[_once_each(matches[places])]
    kept = np.zeros(len(matches), bool)
    for forest in _graphs(matches[places], limits, _forest):
        kept[places[forest]] = True
    return kept


def merged(matches: Matches) -> Matches:
    """Each match once, in the order of a, b, mirrored; one with an own value goes before one without."""
    return matches[_once_each(matches)]


def to_rejoin(stored: Matches, gone: NDArray[np.int64], limits: Limits) -> NDArray[np.int64]:
    """The pictures that must be searched again when others are to be removed, ascending.

    Takes the stored matches of all clusters in which a picture is ``gone``. What `spanning` keeps of those of them
    that stay and of all matches of the pictures returned, is what it would keep of all matches that are left.
    """
    # Without its gone pictures a tree falls into parts, of which all but one are searched. A match between two parts
    # has an end that is searched. A match within one part that is not stored comes last on the cycle that it closes
    # in the tree; that cycle lies in the part and is still there, so that the match belongs to no forest now either.
    stored = merged(stored)
    pictures, a, b = renumbered(stored.a, stored.b)
    stay = ~np.isin(pictures, gone)
    again = np.zeros(len(pictures), bool)
    for forest in _graphs(stored, limits, _forest):
        again |= _beside_the_largest(a[forest], b[forest], stay, again)
    return pictures[again]


def _beside_the_largest(a: Rows, b: Rows, stay: Which, again: Which) -> Which:
    """The vertices that stay, without those of the largest part that is left of each tree.

    What is searched ``again`` anyway does not count for the size; of parts of one size the first vertex decides.
    """
    count = len(stay)
    tree = components(count, a, b)
    left = stay[a] & stay[b]
    part = components(count, a[left], b[left])
    size = np.bincount(part[stay & ~again], minlength=count)
    parts = np.flatnonzero(size)
    parts = parts[np.lexsort((-size[parts], tree[parts]))]
    largest = np.zeros(count, bool)
    largest[parts[_first_of_each(tree[parts])]] = True
    return np.asarray(stay & ~largest[part])


def _graphs(matches: Matches, limits: Limits, thinned: Thinning) -> Iterator[Rows]:
    """The rows left over of the matches of each measure, without mirror images and with them."""
    _, a, b = renumbered(matches.a, matches.b)
    for value, within in (
        (matches.mse, matches.mse <= limits.keep_mse),
        (matches.structure, matches.structure <= limits.keep_structure),
        (matches.custom, ~np.isnan(matches.custom)),
    ):
        rows = thinned(a, b, value, np.flatnonzero(within & ~matches.mirrored))
        yield rows
        mirrored = within & matches.mirrored
        if mirrored.any():
            # a match that closes a cycle without mirror images closes it with them, too
            mirrored[rows] = True
            yield thinned(a, b, value, np.flatnonzero(mirrored))


def _sieved(a: Rows, b: Rows, value: Values, rows: Rows) -> Rows:
    """Without most of the edges whose ends lighter ones join already: that takes no sorting."""
    count = int(b.max(initial=-1)) + 1  # a < b
    light_edges = _LIGHT_EDGES * count
    while light_edges < len(rows):
        values = value[rows]
        light = values <= np.partition(values, light_edges)[light_edges]
        joined = components(count, a[rows[light]], b[rows[light]])
        rows = rows[light | (joined[a[rows]] != joined[b[rows]])]
        light_edges *= 4
    return rows


def _forest(a: Rows, b: Rows, value: Values, rows: Rows) -> Rows:
    """The minimum spanning forest; of edges with equal values the first row counts as the lighter one."""
    rows = rows[np.argsort(value[rows], kind="stable")]
    a, b = a[rows], b[rows]
    chosen = []
    while len(rows):
        # Borůvka: the lightest edge of every vertex belongs to the forest; what they join is a vertex from then on
        used, a, b = renumbered(a, b)
        lightest = np.full(len(used), len(rows))
        places = np.arange(len(rows))
        np.minimum.at(lightest, a, places)
        np.minimum.at(lightest, b, places)
        taken = np.zeros(len(rows), bool)
        taken[lightest] = True
        chosen.append(rows[taken])
        vertices = np.arange(len(used))
        parent = a[lightest] + b[lightest] - vertices  # the other end
        root = (parent[parent] == vertices) & (vertices < parent)  # the only cycles: two that chose the same edge
        parent[root] = vertices[root]
        parent = followed(parent)
        a, b = parent[a], parent[b]
        apart = a != b
        rows, a, b = rows[apart], a[apart], b[apart]
    return np.concatenate([rows, *chosen])


def _once_each(matches: Matches) -> Rows:
    """The rows in the order of a, b, mirrored, of doubles only the one with the smallest own value, NaN last."""
    used, a, b = renumbered(matches.a, matches.b)
    key = (a * len(used) + b) * 2 + matches.mirrored
    order = np.lexsort((matches.custom, key))
    return np.asarray(order[_first_of_each(key[order])])


def _first_of_each(sorted_keys: NDArray[np.int64]) -> Which:
    first = np.ones(len(sorted_keys), bool)
    first[1:] = sorted_keys[1:] != sorted_keys[:-1]
    return first
