/**
 * How good an image is, from simple measures of its pixels.
 *
 * `measure` and dermdistill.publish.page_data measure alike; a limit says what all but one in a hundred of the images
 * that the model learned from keep. These findings warn. They are shown only of images that the bundle's gate, if it has
 * one, does not refuse: where it refuses, its reasons stand alone.
 */

import type { QualityLimits } from "./header";

/** Side of the square that is measured. */
export const SIDE = 224;
const RADIUS = 0.45;
const BRIGHT = 250;

export interface Measures {
  width: number;
  height: number;
  /** Mean luminance within the disc, 0 to 255. */
  brightness: number;
  /** Share of the disc's pixels that are white. */
  glare: number;
  /** Mean absolute Laplacian of the luminance, in standard deviations of it. */
  sharpness: number;
}

/** Keys of texts; the first is the worst. */
export interface Finding {
  key: "blurred" | "dark" | "bright" | "glare" | "small" | "good" | "unknown";
  good: boolean;
}

/** Measure an RGB square [SIDE, SIDE, 3]; a disc leaves out the dark corners of dermatoscopes. */
export function measure(square: Uint8Array, width: number, height: number): Measures {
  const light = new Float64Array(SIDE * SIDE);
  for (let at = 0; at < light.length; at++) {
    light[at] = (299 * square[at * 3]! + 587 * square[at * 3 + 1]! + 114 * square[at * 3 + 2]!) / 1000;
  }
  let pixels = 0;
  let sum = 0;
  let squares = 0;
  let white = 0;
  let edges = 0;
  const middle = (SIDE - 1) / 2;
  const radius = (RADIUS * SIDE) ** 2;
  for (let y = 1; y < SIDE - 1; y++) {
    for (let x = 1; x < SIDE - 1; x++) {
      if ((x - middle) ** 2 + (y - middle) ** 2 > radius) continue;
      const at = y * SIDE + x;
      const here = light[at]!;
      pixels++;
      sum += here;
      squares += here * here;
      edges += Math.abs(4 * here - light[at - 1]! - light[at + 1]! - light[at - SIDE]! - light[at + SIDE]!);
      white += Number(Math.min(square[at * 3]!, square[at * 3 + 1]!, square[at * 3 + 2]!) >= BRIGHT);
    }
  }
  const brightness = sum / pixels;
  const spread = Math.sqrt(Math.max(0, squares / pixels - brightness ** 2));
  const sharpness = spread > 0 ? edges / pixels / spread : 0;
  return { width, height, brightness, glare: white / pixels, sharpness };
}

/** What to tell of an image whose network sees `size` pixels a side. */
export function assess(measures: Measures, size: number, limits: QualityLimits | null): Finding[] {
  const found: Finding[] = [];
  const add = (key: Finding["key"], wrong: boolean) => wrong && found.push({ key, good: false });
  add("small", Math.min(measures.width, measures.height) < size);
  if (limits) {
    add("blurred", measures.sharpness < limits.blurred_below);
    add("dark", measures.brightness < limits.dark_below);
    add("bright", measures.brightness > limits.bright_above);
    add("glare", measures.glare > limits.glare_above);
  }
  if (found.length > 0) return found;
  return [limits ? { key: "good", good: true } : { key: "unknown", good: true }];
}
