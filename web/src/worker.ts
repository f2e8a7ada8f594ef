/**
 * The thread that decodes, judges and explains.
 *
 * The page starts it from a blob after it has closed its connections, so that the same policy holds here: this thread
 * can reach no address either. It gets the engine compiled, and the graphs as bytes.
 */

import * as ort from "onnxruntime-web/wasm";

import { decode, ImageError } from "./decode";
import type { Header, Vector } from "./header";
import { GRID, logOdds, occluded } from "./occlude";
import type { Reply, Request } from "./protocol";
import { measure, SIDE } from "./quality";
import { resized, samePixels } from "./selftest";

type Start = Extract<Request, { kind: "start" }>;

let session: ort.InferenceSession;
let header: Header;
/** Null where the bundle has none. */
let gate: { session: ort.InferenceSession; reasons: string[] } | null = null;

/** Let the runtime take the engine that the page compiled while it loaded: the runtime takes bytes alone, and compiles them. */
function useCompiled(engine: WebAssembly.Module): void {
  const instantiate = WebAssembly.instantiate;
  const compiled = async (_: BufferSource, imports?: WebAssembly.Imports) =>
    ({ module: engine, instance: await instantiate(engine, imports) });
  WebAssembly.instantiate = compiled as typeof instantiate;
  ort.env.wasm.wasmBinary = new ArrayBuffer(0);
}

const load = (graph: ArrayBuffer): Promise<ort.InferenceSession> =>
  ort.InferenceSession.create(new Uint8Array(graph), { executionProviders: ["wasm"] });

async function start({ engine, graph, gate: asked, header: spec }: Start): Promise<void> {
  useCompiled(engine);
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  header = spec;
  session = await load(graph);
  if (asked) gate = { session: await load(asked.graph), reasons: asked.reasons };
}

/** RGB squares [size, size, 3] as both graphs take them, [images, 3, size, size] in [0, 1]. */
function asBatch(squares: Uint8Array[]): { image: ort.Tensor } {
  const { size } = header.input;
  const plane = size * size;
  const batch = new Float32Array(squares.length * 3 * plane);
  squares.forEach((square, image) => {
    for (let at = 0; at < plane; at++) {
      for (let colour = 0; colour < 3; colour++) {
        batch[(image * 3 + colour) * plane + at] = square[at * 3 + colour]! / 255;
      }
    }
  });
  return { image: new ort.Tensor("float32", batch, [squares.length, 3, size, size]) };
}

/** Class probabilities [images][classes] of RGB squares [size, size, 3]. */
async function probabilities(squares: Uint8Array[]): Promise<number[][]> {
  const found = (await session.run(asBatch(squares), ["probabilities"]))["probabilities"]!.data as Float32Array;
  const { length } = header.classes;
  const rows = squares.map((_, image) => Array.from(found.subarray(image * length, (image + 1) * length)));
  const sane = (row: number[]) => row.every((p) => p >= -1e-3) && Math.abs(row.reduce((a, b) => a + b) - 1) <= 1e-3;
  if (!rows.every(sane)) throw new ImageError("failed");
  return rows;
}

/** Why the gate refuses an RGB square [size, size, 3]; empty if it does not, or if there is none. */
async function refusals(square: Uint8Array): Promise<string[]> {
  if (!gate) return [];
  const { session: asked, reasons } = gate;
  const excess = (await asked.run(asBatch([square]), ["excess"]))["excess"]!.data as Float32Array;
  if (excess.length !== reasons.length || !excess.every(Number.isFinite)) throw new ImageError("failed");
  return reasons.filter((_, index) => excess[index]! > 0);
}

/** What is wrong with the answer to a test vector; null if it is right. The gate is not asked: a vector shows a pattern. */
async function check(vector: Vector): Promise<Reply["check"]> {
  const pixels = resized(vector, header.input.size);
  if (!(await samePixels(vector, pixels, header.input.size))) return `${vector.name}: pixels`;
  const [row] = await probabilities([pixels]);
  const off = Math.max(...row!.map((p, index) => Math.abs(p - vector.probabilities[index]!)));
  return off <= header.vectors!.probability_tolerance ? null : `${vector.name}: ${off.toPrecision(2)}`;
}

async function judge(file: Blob): Promise<Reply["judge"]> {
  const { width, height, squares } = await decode(file, [header.input.size, SIDE]);
  const [pixels, large] = squares as [Uint8Array, Uint8Array];
  const [row] = await probabilities([pixels]);
  return { probabilities: row!, refused: await refusals(pixels), pixels, measures: measure(large, width, height) };
}

/** How far the log-odds of melanoma fall where each part of the image is covered, [GRID * GRID]. */
async function explain(pixels: Uint8Array, tell: (done: number) => void): Promise<Reply["explain"]> {
  const { melanoma_index: index, input } = header;
  const [whole] = await probabilities([pixels]);
  const effects: number[] = [];
  const covered: number[] = [];
  for (let row = 0; row < GRID; row++) {
    const images = Array.from({ length: GRID }, (_, column) => occluded(pixels, input.size, row, column));
    for (const judged of await probabilities(images)) {
      covered.push(judged[index]!);
      effects.push(logOdds(whole![index]!) - logOdds(judged[index]!));
    }
    tell((row + 1) / GRID);
  }
  return { effects, covered };
}

async function reply(data: Request & { id: number }): Promise<void> {
  const { id } = data;
  try {
    const tell = (done: number) => self.postMessage({ id, done });
    const value =
      data.kind === "start" ? await start(data)
      : data.kind === "check" ? await check(data.vector)
      : data.kind === "judge" ? await judge(data.file)
      : await explain(data.pixels, tell);
    self.postMessage({ id, value });
  } catch (error) {
    const reason = error instanceof ImageError ? error.reason : "failed";
    self.postMessage({ id, error: reason, detail: String(error) });
  }
}

/** One request after the other: the runtime takes no second one meanwhile. */
let queue = Promise.resolve();
self.onmessage = ({ data }: MessageEvent<Request & { id: number }>) => {
  queue = queue.then(() => reply(data));
};
