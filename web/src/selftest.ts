/** The proof that this browser computes what the model's makers computed, before any answer is shown. */

import { sha256, type Vector } from "./header";
import { Resizer } from "./resize";

const SAMPLES = 16;

/** A vector's image as RGBA, [height, width, 4]; whole numbers only, so that every language draws the same. */
export function draw({ width, height, base, xx, xy, yy }: Vector["image"]): Uint8ClampedArray {
  const pixels = new Uint8ClampedArray(width * height * 4);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const wave = Math.floor((xx * x * x + xy * x * y + yy * y * y) / 64) % 64;
      for (const value of base) pixels[at++] = value + wave;
      pixels[at++] = 255;
    }
  }
  return pixels;
}

/** A vector's image as the network sees it, RGB [size, size, 3]. */
export function resized(vector: Vector, size: number): Uint8Array {
  const { width, height } = vector.image;
  const resizer = new Resizer(width, height, [size]);
  resizer.add(draw(vector.image), 0);
  return resizer.finish()[0]!;
}

/** Whether pixels are those that Pillow makes, to the last bit: all of them, or samples where there is no hash. */
export async function samePixels(vector: Vector, pixels: Uint8Array, size: number): Promise<boolean> {
  const found = await sha256(pixels.buffer as ArrayBuffer);
  if (found) return found === vector.resized_sha256;
  const samples = Uint8Array.from(atob(vector.resized_samples), (letter) => letter.charCodeAt(0));
  const places = Array.from({ length: SAMPLES }, (_, k) => Math.floor(((2 * k + 1) * size) / (2 * SAMPLES)));
  return places.every((y, row) => places.every((x, column) => [0, 1, 2].every((colour) =>
    pixels[(y * size + x) * 3 + colour] === samples[(row * SAMPLES + column) * 3 + colour])));
}
