/** Covering parts of an image, to see what the model's answer rests on. */

/** Rows and columns of the map. */
export const GRID = 8;

/** The logarithm of the odds of a probability, held within what 32 bits can tell from 0 and 1. */
export function logOdds(p: number): number {
  const kept = Math.min(1 - 1e-6, Math.max(1e-6, p));
  return Math.log(kept / (1 - kept));
}

/** A copy of an RGB square with the neighbourhood of one cell of the grid covered in the image's median colour. */
export function occluded(pixels: Uint8Array, size: number, row: number, column: number): Uint8Array {
  const copy = pixels.slice();
  const colour = medianColour(pixels);
  const cell = size / GRID;
  const from = (index: number) => Math.max(0, Math.round((index - 0.5) * cell));
  const to = (index: number) => Math.min(size, Math.round((index + 1.5) * cell));
  for (let y = from(row); y < to(row); y++) {
    for (let x = from(column); x < to(column); x++) copy.set(colour, (y * size + x) * 3);
  }
  return copy;
}

/** Of each channel the middle value: skin, in most images. */
function medianColour(pixels: Uint8Array): number[] {
  return [0, 1, 2].map((channel) => {
    const counts = new Uint32Array(256);
    for (let at = channel; at < pixels.length; at += 3) counts[pixels[at]!]!++;
    let left = pixels.length / 6;
    return Math.max(0, counts.findIndex((count) => (left -= count) <= 0));
  });
}
