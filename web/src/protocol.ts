/** What the page and its thread say to each other. */

import type { Header } from "./header";
import type { Measures } from "./quality";

export type Request =
  | { kind: "start"; engine: ArrayBuffer; graph: ArrayBuffer; header: Header }
  | { kind: "judge"; file: Blob }
  | { kind: "explain"; pixels: Uint8Array };

export interface Reply {
  start: void;
  judge: { probabilities: number[]; pixels: Uint8Array; measures: Measures };
  explain: { effects: number[]; covered: number[] };
}
