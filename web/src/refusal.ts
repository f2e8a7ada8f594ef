/** What the page says of an image that the bundle's gate refuses. */

import { h } from "./dom";
import type { Item } from "./state";
import { say, sayIfKnown } from "./texts";

const reasons = (item: Item): string[] => item.answer!.refused.map((name) => sayIfKnown(`reason_${name}`) ?? name);

/** The reasons in words. */
export const why = (item: Item): string => reasons(item).join("; ");

/** The refusal in one line, as `dermdistill predict` tells it. */
export const refusalLine = (item: Item): string => say("refused_line", { name: item.name, why: why(item) });

/** The refusal in place of an answer, with the button that shows the answer nonetheless. */
export function refusal(item: Item, toggle: () => void): HTMLElement {
  return h(
    "div", { class: "refusal" },
    h("h2", { id: "answer-title" }, say("refused_title")),
    h("ul", { id: "reasons" }, ...reasons(item).map((reason) => h("li", {}, reason))),
    h("p", { class: "quiet" }, say("refused_note")),
    h("button", { type: "button", id: "anyway", "aria-expanded": String(item.anyway), onclick: toggle },
      say(item.anyway ? "refused_hide" : "refused_show")),
  );
}
