/** The files that the page reads: what they hold, and the checks that they are whole. */

/** An operating point of a bundle: at or above `value` an image counts as positive. */
export interface ThresholdSpec {
  value: number;
  sensitivity: number | null;
  specificity: number | null;
  n: number;
  positives: number;
}

/** A generated image, and what the model answers; see `Pattern` and `Vector` in dermdistill.predict.header. */
export interface Vector {
  name: string;
  image: { width: number; height: number; base: [number, number, number]; xx: number; xy: number; yy: number };
  /** Of the resized image's bytes. */
  resized_sha256: string;
  /** Base64 of [16, 16, 3] of its values. */
  resized_samples: string;
  probabilities: number[];
}

/** The part of bundle.json that the page uses. */
export interface Header {
  format: string;
  name: string;
  version: string;
  classes: string[];
  melanoma_index: number;
  input: { size: number; resize: string };
  default_threshold: string;
  thresholds: Record<string, ThresholdSpec>;
  licence: { code: string; weights: string };
  data: { sources: string[]; manifest_sha256: string; images: Record<string, number>; synthetic: boolean };
  model: { name: string; parameters: number; macs: number; weights_sha256: string };
  files: Record<string, string>;
  /** From format 2 on. */
  vectors?: { probability_tolerance: number; images: Vector[] };
}

/** Images with a value from `low` up to `high`, and how many of them showed a melanoma. */
export interface Bin {
  low: number;
  high: number;
  n: number;
  positives: number;
}

/** Limits of the measured quality, from the images that the model learned from. */
export interface QualityLimits {
  images: number;
  blurred_below: number;
  dark_below: number;
  bright_above: number;
  glare_above: number;
}

/** page-data/NAME.json: what out-of-fold predictions say about thresholds and values. */
export interface Evidence {
  format: string;
  model: string;
  weights_sha256: string;
  manifest_sha256: string;
  n: number;
  positives: number;
  /** Rising thresholds, each with the melanomas and the other images at or above it. */
  curve: [number, number, number][];
  bins: Bin[];
  quality: QualityLimits | null;
}

/** A graph that refuses images which the model may not judge; see dermdistill.predict.gate. */
export interface Gate {
  graph: ArrayBuffer;
  /** What each of its outputs refuses for. */
  reasons: string[];
}

/** page.json: which bundle and which figures this copy of the page was published with. */
export interface Index {
  format: string;
  version: string;
  bundle: string;
  evidence: string | null;
  graph: string;
  /** Of the bundle; null where it has none. The reasons come from its metadata, which a browser's runtime cannot read. */
  gate: { graph: string; reasons: string[] } | null;
  /** The name of each of the bundle's sources for people, by language. */
  sources: Record<string, Record<string, string>>;
}

const RESIZE = "squash-bilinear/1";

/** Throw if a bundle is of a form that this page does not know. */
export function checkHeader(header: Header): void {
  if (!/^dermdistill-bundle\/[12]$/.test(header.format)) throw new Error(`bundle format ${header.format}`);
  if (header.input.resize !== RESIZE) throw new Error(`preprocessing ${header.input.resize}`);
  if (!(header.default_threshold in header.thresholds)) throw new Error(`threshold ${header.default_threshold}`);
}

/** Throw if figures belong to other weights than a bundle's. */
export function checkEvidence(evidence: Evidence, header: Header): void {
  if (evidence.format !== "dermdistill-page-data/1") throw new Error(`page data format ${evidence.format}`);
  if (evidence.weights_sha256 !== header.model.weights_sha256) throw new Error("page data of other weights");
}

/** SHA-256 of bytes in hexadecimal; null where the browser offers none (a page without HTTPS). */
export async function sha256(bytes: ArrayBuffer): Promise<string | null> {
  if (!globalThis.crypto?.subtle) return null;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
