/** What the page knows at a moment. */

import type { Parts } from "./assets";
import type { Reply } from "./protocol";

/** One image that was given. */
export interface Item {
  id: number;
  name: string;
  file: Blob;
  /** Address of the image for showing it, within this page. */
  address: string;
  /** 'waiting', 'ok', 'refused' by the bundle's gate, or why there is no answer. */
  status: string;
  message: string;
  answer: Reply["judge"] | null;
  map: Reply["explain"] | null;
  /** Whether somebody asked for the answer although the image is refused. */
  anyway: boolean;
}

export interface State {
  parts: Parts | null;
  items: Item[];
  selected: number | null;
  threshold: number;
  showMap: boolean;
  /** How much of the map is computed, 0 to 1; null while none is. */
  mapping: number | null;
}

export const state: State = {
  parts: null,
  items: [],
  selected: null,
  threshold: 0,
  showMap: false,
  mapping: null,
};

export const selected = (): Item | null => state.items.find((item) => item.id === state.selected) ?? null;

export const isRefused = (item: Item): boolean => item.status === "refused";

/** Whether the page shows a probability of this item. */
export const hasValue = (item: Item): boolean => item.answer !== null && (item.anyway || !isRefused(item));
