// Finds where one picture lies in another of which it is a part, so that the same spot is in the same place on the screen.
// The service tells that of most parts. For others both are compared in grey, at a small size first and at a larger one
// near the best place: normalised correlation.

const COARSE_PX = 64;
const FINE_PX = 224;
const LEAST_PART = 0.35; // of the width
const COARSE_STEP = 0.02;
const FINE_STEP = 0.0025;
const LEAST_LIKENESS = 0.85; // else they are shown as they are
const LEAST_LEAN_DEGREES = 0.5; // what leans by less may lie upright: that is a pixel of what the service looks at
const LEAST_BEYOND = 0.015; // of a side: so far an outline that is told may be off
const CORNERS = [[0, 0], [1, 0], [1, 1], [0, 1]]; // in the order in which outlines are told

// The same as `partOf`, from what the service tells of a file beside the kept one, which comes first; null: it tells nothing.
export function partAsTold({ outline, shows_more: showsMore, turn = 0, mirrored }) {
  if (!outline) return null;
  if (showsMore) return { outer: 1, corners: outline.map((corner) => upright(corner, turn, mirrored)) };
  // The corners that are told are those of the file as it is stored: here they are put in the order in which it is shown.
  const shown = CORNERS.map((corner) => String(upright(corner, turn, mirrored)));
  return { outer: 0, corners: CORNERS.map((corner) => outline[shown.indexOf(String(corner))]) };
}

// Where the smaller part is drawn if `box` is where the larger picture is: its own box, which is turned about its middle,
// clockwise by `lean` degrees, and its corners.
export function layPart({ corners }, box) {
  const [a, b, c, d] = corners.map(([x, y]) => [box.left + x * box.width, box.top + y * box.height]);
  const half = (from, to, otherFrom, otherTo) => [0, 1].map((i) => (to[i] - from[i] + otherTo[i] - otherFrom[i]) / 2);
  const [across, down] = [half(a, b, d, c), half(a, d, b, c)];
  const [width, height] = [Math.hypot(...across), Math.hypot(...down)];
  const left = (a[0] + b[0] + c[0] + d[0]) / 4 - width / 2;
  const top = (a[1] + b[1] + c[1] + d[1]) / 4 - height / 2;
  const lean = (Math.atan2(across[1] - down[0], across[0] + down[1]) * 180) / Math.PI;
  if (Math.abs(lean) >= LEAST_LEAN_DEGREES) return { left, top, width, height, lean, corners: [a, b, c, d] };
  return { left, top, width, height, lean: 0, corners: cornersOf({ left, top, width, height }) };
}

export function cornersOf({ left, top, width, height }) {
  return CORNERS.map(([x, y]) => [left + x * width, top + y * height]);
}

// Whether some of the smaller part lies beyond the larger picture.
export function reachesBeyond({ corners }) {
  return corners.flat().some((place) => place < -LEAST_BEYOND || place > 1 + LEAST_BEYOND);
}

// Where a place, in parts of a picture, is once that was mirrored and turned clockwise.
function upright([x, y], turn, mirrored) {
  const across = mirrored ? 1 - x : x;
  return [[across, y], [1 - y, across], [1 - across, 1 - y], [y, 1 - across]][(turn / 90) % 4];
}

// Where the smaller part lies, as {outer: 0 or 1, corners}, or null: its upper left, upper right, lower right and lower left
// corner as it is shown, in parts of the larger picture.
// `draw(number, width, height)` returns the pixels of the upright picture at that size; `sizes` are its width and height.
export function partOf(draw, sizes) {
  let best = null;
  for (const outer of [0, 1]) {
    const found = search(draw, sizes, outer, COARSE_PX, scales(LEAST_PART, 1, COARSE_STEP), null);
    if (found && (!best || found.likeness > best.likeness + 0.005)) best = found;
  }
  if (!best) return null;
  const near = scales(best.width - COARSE_STEP, Math.min(best.width + COARSE_STEP, 1), FINE_STEP);
  best = search(draw, sizes, best.outer, FINE_PX, near, best) || best;
  return best.likeness >= LEAST_LIKENESS ? { outer: best.outer, corners: cornersOf(best) } : null;
}

function scales(from, to, step) {
  const count = Math.max(Math.round((to - from) / step), 0);
  return Array.from({ length: count + 1 }, (_, i) => to - i * step);
}

// Tries the inner picture at these widths (in parts of the outer one), everywhere or, if `near` is given, around it.
function search(draw, sizes, outer, most, widths, near) {
  const [large, small] = [sizes[outer], sizes[1 - outer]];
  const width = Math.round((most * large.width) / Math.max(large.width, large.height));
  const height = Math.round((most * large.height) / Math.max(large.width, large.height));
  const ground = grey(draw(outer, width, height));
  const sums = sumsOf(ground, width, height);
  let best = null;
  for (const part of widths) {
    const across = Math.round(part * width);
    const down = Math.round((part * width * small.height) / small.width);
    if (across < 8 || down < 8 || across > width || down > height) continue;
    const pattern = normalised(grey(draw(1 - outer, across, down)));
    if (!pattern) continue;
    const reach = Math.ceil(most / COARSE_PX) + 1;
    const [left, right] = bounds(near && near.left * width, reach, width - across);
    const [top, bottom] = bounds(near && near.top * height, reach, height - down);
    for (let y = top; y <= bottom; y += 1) {
      for (let x = left; x <= right; x += 1) {
        const likeness = correlation(ground, width, sums, pattern, x, y, across, down);
        if (!best || likeness > best.likeness) {
          best = { outer, likeness, left: x / width, top: y / height, width: across / width, height: down / height };
        }
      }
    }
  }
  return best;
}

function bounds(place, reach, most) {
  return place === null ? [0, most] : [Math.max(Math.floor(place - reach), 0), Math.min(Math.ceil(place + reach), most)];
}

function grey({ data }) {
  const values = new Float64Array(data.length / 4);
  for (let i = 0; i < values.length; i += 1) values[i] = 0.3 * data[4 * i] + 0.59 * data[4 * i + 1] + 0.11 * data[4 * i + 2];
  return values;
}

// Without its mean and of length 1; null for a plain area, which is like any other.
function normalised(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  let square = 0;
  for (let i = 0; i < values.length; i += 1) {
    values[i] -= mean;
    square += values[i] ** 2;
  }
  if (square < values.length) return null;
  const length = Math.sqrt(square);
  return values.map((value) => value / length);
}

// Sums of values and of their squares over all that is above and to the left.
function sumsOf(values, width, height) {
  const plain = new Float64Array((width + 1) * (height + 1));
  const squares = new Float64Array(plain.length);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const [here, above] = [(y + 1) * (width + 1) + x + 1, y * (width + 1) + x + 1];
      const value = values[y * width + x];
      plain[here] = value + plain[here - 1] + plain[above] - plain[above - 1];
      squares[here] = value ** 2 + squares[here - 1] + squares[above] - squares[above - 1];
    }
  }
  return { plain, squares };
}

function correlation(ground, width, sums, pattern, left, top, across, down) {
  const corner = (of) => {
    const row = width + 1;
    const [first, last] = [top * row + left, (top + down) * row + left];
    return of[last + across] - of[last] - of[first + across] + of[first];
  };
  const sum = corner(sums.plain);
  const spread = corner(sums.squares) - sum ** 2 / (across * down);
  if (spread < across * down) return 0;
  let product = 0;
  for (let y = 0; y < down; y += 1) {
    const from = (top + y) * width + left;
    for (let x = 0; x < across; x += 1) product += ground[from + x] * pattern[y * across + x];
  }
  return product / Math.sqrt(spread);
}
