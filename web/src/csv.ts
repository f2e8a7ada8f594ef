/** The table as CSV, with the columns of `dermdistill predict`. */

import { refusalLine } from "./refusal";
import { hasValue, isRefused, type Item } from "./state";

export function toCsv(items: Item[], classes: string[], melanoma: number, threshold: number): string {
  const header = ["file", "status", "p_melanoma", "decision", "message", ...classes.map((name) => `p_${name}`)];
  const rows = items.map((item) => {
    const message = isRefused(item) ? refusalLine(item) : item.message;
    if (!hasValue(item)) return [item.name, item.status, "", "", message, ...classes.map(() => "")];
    const { probabilities } = item.answer!;
    const p = probabilities[melanoma]!;
    const decision = p >= threshold ? "above_threshold" : "below_threshold";
    return [item.name, item.status, round(p), decision, message, ...probabilities.map(round)];
  });
  return [header, ...rows].map((row) => row.map(cell).join(",")).join("\n") + "\n";
}

const round = (value: number): string => String(Math.round(value * 1e6) / 1e6);

/** A cell; a text that a spreadsheet would run as a formula gets an apostrophe. */
function cell(value: string): string {
  const safe = /^[=+@\t\r]|^-(?![\d.])/.test(value) ? `'${value}` : value;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
