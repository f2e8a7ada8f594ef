/** From an image file to square pixels, as dermdistill's Python decodes and resizes them. */

import { Resizer } from "./resize";

export const MAX_PIXELS = 100_000_000;
export const MIN_SIDE = 16;
const STRIP_PIXELS = 2 ** 21;
const HEAD = 2 ** 16;

/** Why an image cannot be used; `reason` is one of dermdistill's codes, and the key of the text that explains it. */
export class ImageError extends Error {
  constructor(readonly reason: string) {
    super(reason);
  }
}

export interface Squares {
  width: number;
  height: number;
  /** RGB [side, side, 3] for each side that was asked for. */
  squares: Uint8Array[];
}

/**
 * Decode a file upright, without colour management, lay it on white, and squash it to squares.
 *
 * Throws ImageError: empty, not_an_image, unsupported, truncated, too_small, bomb.
 */
export async function decode(file: Blob, sides: number[]): Promise<Squares> {
  await refuseDamaged(file);
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", imageOrientation: "from-image" });
  } catch {
    throw new ImageError("not_an_image");
  }
  try {
    return readSquares(bitmap, sides);
  } finally {
    bitmap.close();
  }
}

function readSquares(bitmap: ImageBitmap, sides: number[]): Squares {
  const { width, height } = bitmap;
  if (width * height > MAX_PIXELS) throw new ImageError("bomb");
  if (Math.min(width, height) < MIN_SIDE) throw new ImageError("too_small");
  const resizer = new Resizer(width, height, sides);
  const rows = Math.max(1, Math.min(height, Math.floor(STRIP_PIXELS / width)));
  const canvas = new OffscreenCanvas(width, rows);
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  for (let top = 0; top < height; top += rows) {
    const left = Math.min(rows, height - top);
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, left);
    context.drawImage(bitmap, 0, top, width, left, 0, 0, width, left);
    resizer.add(context.getImageData(0, 0, width, left).data, top);
  }
  return { width, height, squares: resizer.finish() };
}

/** Browsers show what is there of a file that was cut off, and convert CMYK in ways of their own. */
async function refuseDamaged(file: Blob): Promise<void> {
  if (file.size === 0) throw new ImageError("empty");
  const head = new Uint8Array(await file.slice(0, HEAD).arrayBuffer());
  const tail = new Uint8Array(await file.slice(Math.max(0, file.size - HEAD)).arrayBuffer());
  if (startsWith(head, [0xff, 0xd8, 0xff])) {
    if (!contains(tail, [0xff, 0xd9])) throw new ImageError("truncated");
    if (jpegComponents(head) === 4) throw new ImageError("unsupported");
  } else if (startsWith(head, [0x89, 0x50, 0x4e, 0x47])) {
    if (!contains(tail, [0x49, 0x45, 0x4e, 0x44])) throw new ImageError("truncated");
  } else if (startsWith(head, [0x49, 0x49, 0x2a, 0]) || startsWith(head, [0x4d, 0x4d, 0, 0x2a])) {
    throw new ImageError("unsupported");
  } else if (new TextDecoder().decode(head.subarray(128, 132)) === "DICM") {
    throw new ImageError("unsupported");
  } else if (head[0] === 0x3c) {
    throw new ImageError("not_an_image"); // SVG and HTML: text, which browsers would draw
  }
}

function startsWith(bytes: Uint8Array, start: number[]): boolean {
  return start.every((value, index) => bytes[index] === value);
}

function contains(bytes: Uint8Array, wanted: number[]): boolean {
  for (let at = bytes.length - wanted.length; at >= 0; at--) {
    if (wanted.every((value, index) => bytes[at + index] === value)) return true;
  }
  return false;
}

/** Number of colours that a JPEG's frame header names; 0 if it is not within the bytes. */
function jpegComponents(bytes: Uint8Array): number {
  let at = 2;
  while (at + 9 < bytes.length && bytes[at] === 0xff) {
    const marker = bytes[at + 1]!;
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) return bytes[at + 9]!;
    at += 2 + (bytes[at + 2]! << 8) + bytes[at + 3]!;
  }
  return 0;
}
