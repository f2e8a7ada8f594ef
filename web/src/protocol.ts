/** What the page and its thread say to each other. */

import type { Gate, Header, Vector } from "./header";
import type { Measures } from "./quality";

export type Request =
  | { kind: "start"; engine: WebAssembly.Module; graph: ArrayBuffer; gate: Gate | null; header: Header }
  | { kind: "check"; vector: Vector }
  | { kind: "judge"; file: Blob }
  | { kind: "explain"; pixels: Uint8Array };

export interface Reply {
  start: void;
  /** Null if the answer is right, else what is wrong. */
  check: string | null;
  judge: {
    probabilities: number[];
    /** Why the gate refuses the image; empty if it does not, or if there is none. */
    refused: string[];
    pixels: Uint8Array;
    measures: Measures;
  };
  explain: { effects: number[]; covered: number[] };
}
