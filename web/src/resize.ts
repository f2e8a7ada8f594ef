/**
 * Pillow's antialiased bilinear resize of 8-bit RGB, to the last bit.
 *
 * Two passes with weights in fixed point, rounded to 8 bits after each, as Pillow's `Image.resize` does for
 * `Resampling.BILINEAR`. The first pass takes the image in strips of rows, so that a large one is never whole in memory.
 */

const PRECISION = 22;
const HALF = 2 ** (PRECISION - 1);

interface Weights {
  /** First input pixel of each output pixel. */
  first: Int32Array;
  /** How many input pixels each output pixel has. */
  count: Int32Array;
  /** Weights in fixed point, `width` an output pixel. */
  values: Int32Array;
  width: number;
}

function weightsOf(from: number, to: number): Weights {
  const scale = from / to;
  const support = Math.max(scale, 1);
  const width = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(to);
  const count = new Int32Array(to);
  const values = new Int32Array(to * width);
  for (let out = 0; out < to; out++) {
    const centre = (out + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - support + 0.5));
    const end = Math.min(from, Math.trunc(centre + support + 0.5));
    const raw = new Float64Array(end - start);
    let total = 0;
    for (let tap = 0; tap < raw.length; tap++) {
      const weight = Math.max(0, 1 - Math.abs((tap + start - centre + 0.5) * (1 / support)));
      raw[tap] = weight;
      total += weight;
    }
    first[out] = start;
    count[out] = raw.length;
    raw.forEach((weight, tap) => {
      values[out * width + tap] = Math.trunc((weight / total) * 2 ** PRECISION + 0.5);
    });
  }
  return { first, count, values, width };
}

/** Resizes one image, strip by strip, to squares of several sides at once. */
export class Resizer {
  private readonly passes: { side: number; weights: Weights; rows: Uint8Array }[];

  constructor(
    private readonly width: number,
    private readonly height: number,
    sides: number[],
  ) {
    this.passes = sides.map((side) => ({
      side,
      weights: weightsOf(width, side),
      rows: new Uint8Array(height * side * 3),
    }));
  }

  /** Take the rows from `top` on, RGBA; what is transparent must have been laid on white. */
  add(rgba: Uint8ClampedArray, top: number): void {
    const rows = rgba.length / 4 / this.width;
    for (const { side, weights, rows: into } of this.passes) {
      const { first, count, values, width: step } = weights;
      for (let row = 0; row < rows; row++) {
        const line = row * this.width * 4;
        let at = (top + row) * side * 3;
        for (let out = 0; out < side; out++) {
          let red = HALF;
          let green = HALF;
          let blue = HALF;
          let pixel = line + first[out]! * 4;
          const base = out * step;
          for (let tap = 0; tap < count[out]!; tap++, pixel += 4) {
            const weight = values[base + tap]!;
            red += rgba[pixel]! * weight;
            green += rgba[pixel + 1]! * weight;
            blue += rgba[pixel + 2]! * weight;
          }
          into[at++] = red >> PRECISION;
          into[at++] = green >> PRECISION;
          into[at++] = blue >> PRECISION;
        }
      }
    }
  }

  /** The squares, RGB [side, side, 3] each, in the order of the sides that were asked for. */
  finish(): Uint8Array[] {
    return this.passes.map(({ side, rows }) => {
      const { first, count, values, width: step } = weightsOf(this.height, side);
      const square = new Uint8Array(side * side * 3);
      const line = side * 3;
      for (let out = 0; out < side; out++) {
        for (let at = 0; at < line; at++) {
          let sum = HALF;
          for (let tap = 0; tap < count[out]!; tap++) {
            sum += rows[(first[out]! + tap) * line + at]! * values[out * step + tap]!;
          }
          square[out * line + at] = sum >> PRECISION;
        }
      }
      return square;
    });
  }
}
