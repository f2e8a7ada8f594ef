/** The page: loads its parts, closes its connections, proves itself, and then takes images. */

import { drawAbout } from "./about";
import { drawAnswer, melanoma } from "./answer";
import { fetchParts, keepForOffline } from "./assets";
import { toCsv } from "./csv";
import { at, h, offer } from "./dom";
import { Engine, Refusal } from "./engine";
import { listenForImages } from "./intake";
import { drawList } from "./list";
import { closeConnections } from "./lock";
import { refusalLine } from "./refusal";
import { hasValue, isRefused, selected, state, type Item } from "./state";
import { chooseLanguage, language, languages, percent, say, sayIfKnown, type Key } from "./texts";
import { drawThreshold } from "./threshold";

let engine: Engine | null = null;
let example: Blob | null = null;
let judging = false;

function phase(name: "loading" | "starting" | "ready" | "failed"): void {
  performance.mark(`dermdistill:${name}`);
  document.documentElement.dataset["phase"] = name;
}

function problem(text: string): void {
  at("problem").textContent = text;
  at("problem").hidden = false;
}

/** Fill the texts that stand in the page's HTML. */
function fillTexts(): void {
  for (const element of document.querySelectorAll<HTMLElement>("[data-text]")) {
    element.textContent = say(element.dataset["text"] as Key);
  }
  document.title = `dermdistill · ${say("title")}`;
  at<HTMLSelectElement>("language").replaceChildren(
    ...languages().map(([code, name]) => h("option", { value: code, selected: code === language() }, name)),
  );
}

/** Draw a part of the page anew and leave the keyboard where it was. */
function redraw(...draw: (() => void)[]): void {
  const { id } = document.activeElement ?? {};
  draw.forEach((one) => one());
  if (id && document.activeElement?.id !== id) at(id)?.focus({ preventScroll: true });
}

const answer = () => drawAnswer({ map: (item) => void toggleMap(item), anyway: toggleAnswer, remove });
const list = () =>
  drawList({
    select: (item) => {
      state.selected = item.id;
      redraw(answer, list);
    },
    remove,
    clear: () => {
      state.items.forEach((item) => URL.revokeObjectURL(item.address));
      state.items = [];
      state.selected = null;
      document.documentElement.toggleAttribute("data-images", false);
      redraw(answer, list);
      at("choose").focus();
    },
    download: () => {
      const { classes, melanoma_index: index } = state.parts!.header;
      const text = toCsv(state.items, classes, index, state.threshold);
      offer("dermdistill.csv", new Blob([text], { type: "text/csv" }));
    },
  });
const threshold = () => drawThreshold(() => redraw(answer, list));

function remove(item: Item): void {
  const index = state.items.indexOf(item);
  state.items.splice(index, 1);
  URL.revokeObjectURL(item.address);
  const next = state.items[index] ?? state.items[index - 1];
  if (state.selected === item.id) state.selected = next?.id ?? null;
  document.documentElement.toggleAttribute("data-images", state.items.length > 0);
  redraw(answer, list);
  (at(`remove-${next?.id}`) ?? at(next ? "remove-shown" : "choose")).focus();
}

let last = 0;

function take(files: { name: string; file: Blob }[]): void {
  at("problem").hidden = true;
  const items = files.map(({ name, file }): Item => ({
    id: ++last, name, file, address: URL.createObjectURL(file), status: "waiting", message: "", answer: null, map: null,
    anyway: false,
  }));
  state.items.push(...items);
  state.selected = items[0]!.id;
  document.documentElement.toggleAttribute("data-images", true);
  if (items.length > 1) at("news").textContent = say("news_waiting", { n: items.length });
  void judgeWaiting();
}

/** Judge what waits, one after the other; images that come meanwhile join the queue. */
async function judgeWaiting(): Promise<void> {
  if (!engine || judging) return;
  judging = true;
  redraw(answer, list);
  for (let item = nextWaiting(); item; item = nextWaiting()) {
    await judge(item);
    redraw(answer, list);
  }
  judging = false;
}

const nextWaiting = () => state.items.find((item) => item.status === "waiting");

async function judge(item: Item): Promise<void> {
  try {
    item.answer = await engine!.judge(item.file);
    item.status = item.answer.refused.length > 0 ? "refused" : "ok";
  } catch (error) {
    item.status = error instanceof Refusal ? error.reason : "failed";
    item.message = sayIfKnown(`error_${item.status}`) ?? say("error_failed");
  }
  if (item.id === state.selected) tell(item);
}

/** Tell those who do not see the page what it says of an image. */
function tell(item: Item): void {
  const said: string[] = [];
  if (isRefused(item)) said.push(`${refusalLine(item)}.`);
  if (!item.answer) said.push(say("news_failed", { name: item.name, why: item.message }));
  if (hasValue(item)) {
    const p = melanoma(item);
    const decision = say(p >= state.threshold ? "above" : "below", { threshold: percent(state.threshold) });
    said.push(say("news_answer", { name: item.name, value: percent(p), decision }));
  }
  at("news").textContent = said.join(" ");
}

/** Show or hide the answer to a refused image. */
function toggleAnswer(item: Item): void {
  item.anyway = !item.anyway;
  redraw(answer, list);
  tell(item);
}

async function toggleMap(item: Item): Promise<void> {
  state.showMap = item.map ? !state.showMap : true;
  if (!item.map) {
    state.mapping = 0;
    redraw(answer);
    try {
      item.map = await engine!.explain(item.answer!.pixels, (done) => {
        state.mapping = done;
        document.querySelector("progress")?.setAttribute("value", String(done));
      });
    } catch {
      problem(say("error_failed"));
    } finally {
      state.mapping = null;
    }
  }
  redraw(answer);
}

/** What the page cannot do without, if this browser lacks it. */
function missing(): string | null {
  const needed = { WebAssembly: "WebAssembly", OffscreenCanvas: "OffscreenCanvas", DecompressionStream: "DecompressionStream" };
  return Object.keys(needed).find((name) => !(name in globalThis)) ?? null;
}

async function load(): Promise<void> {
  const [parts, picture] = await Promise.all([fetchParts(), fetch("example.jpg").then((reply) => reply.blob())]);
  example = picture;
  await keepForOffline(parts.kept, () => (at("offline").hidden = false));
  const closed = await closeConnections();
  phase("starting");
  state.parts = parts;
  state.threshold = parts.header.thresholds[parts.header.default_threshold]!.value;
  const started = new Engine(parts.thread);
  await started.start(await parts.engine, parts.graph, parts.gate, parts.header);
  for (const vector of parts.header.vectors?.images ?? []) {
    const wrong = await started.check(vector);
    if (wrong) throw new Refusal("selftest", wrong);
  }
  engine = started;
  const privacy = at("privacy");
  privacy.dataset["state"] = closed ? "closed" : "open";
  privacy.querySelector("span")!.dataset["text"] = closed ? "privacy_closed" : "privacy_open";
}

function listen(): void {
  listenForImages(take, () => example && take([{ name: say("example_name"), file: example }]), problem);
  at("language").addEventListener("change", (event) => {
    chooseLanguage((event.target as HTMLSelectElement).value);
    drawAll();
  });
}

function drawAll(): void {
  const draws = state.parts && engine ? [answer, list, threshold, drawAbout] : [];
  redraw(fillTexts, ...draws);
}

async function begin(): Promise<void> {
  phase("loading");
  chooseLanguage();
  fillTexts();
  listen();
  const lacks = missing();
  if (lacks) {
    phase("failed");
    return problem(say("problem_browser", { why: lacks }));
  }
  try {
    await load();
  } catch (error) {
    phase("failed");
    const selftest = error instanceof Refusal;
    const why = (error as Error).message;
    return problem(say(selftest ? "problem_selftest" : "problem_load", { why }));
  }
  drawAll();
  phase("ready");
  if (selected()) void judgeWaiting();
}

void begin();
