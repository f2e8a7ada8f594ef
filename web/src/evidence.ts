/** What out-of-fold predictions support: rates at a threshold, and what became of images with a similar value. */

import type { Bin, Evidence, Header } from "./header";

/** Rates at a threshold, on images with `positives` melanomas and `negatives` others. */
export interface Rates {
  sensitivity: number;
  specificity: number;
  positives: number;
  negatives: number;
  /** Melanomas at or above the threshold. */
  found: number;
  /** Other images at or above it. */
  alarms: number;
}

/** Thresholds that the slider stops at, in rising order. */
export function stops(header: Header, evidence: Evidence | null): number[] {
  const own = Object.values(header.thresholds).map((point) => point.value);
  const all = evidence ? evidence.curve.map(([value]) => value) : own;
  return [...new Set(all)].sort((a, b) => a - b);
}

/** The rates at one of the stops; null where nothing is known. */
export function ratesAt(value: number, header: Header, evidence: Evidence | null): Rates | null {
  const row = evidence?.curve.find(([stop]) => stop === value);
  if (evidence && row) {
    const [, found, alarms] = row;
    return rates(found, alarms, evidence.positives, evidence.n - evidence.positives);
  }
  const point = Object.values(header.thresholds).find((one) => one.value === value);
  if (!point || point.sensitivity === null || point.specificity === null) return null;
  const negatives = point.n - point.positives;
  return rates(point.sensitivity * point.positives, (1 - point.specificity) * negatives, point.positives, negatives);
}

function rates(found: number, alarms: number, positives: number, negatives: number): Rates {
  const [hits, wrong] = [Math.round(found), Math.round(alarms)];
  return {
    sensitivity: hits / positives, specificity: 1 - wrong / negatives, positives, negatives, found: hits, alarms: wrong,
  };
}

/** The images whose value was like `p`; null where nothing is known. */
export function similar(p: number, evidence: Evidence | null): Bin | null {
  return evidence?.bins.find((bin) => p >= bin.low && (p < bin.high || bin.high >= 1)) ?? null;
}

/** Wilson's 95 % interval of a share. Source: Wilson, J. Am. Stat. Assoc. 22 (1927) 209. */
export function interval(part: number, whole: number): [number, number] {
  const z = 1.959964;
  const share = part / whole;
  const middle = share + (z * z) / (2 * whole);
  const half = z * Math.sqrt((share * (1 - share)) / whole + (z * z) / (4 * whole * whole));
  const divisor = 1 + (z * z) / whole;
  return [Math.max(0, (middle - half) / divisor), Math.min(1, (middle + half) / divisor)];
}
