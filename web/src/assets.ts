/** Fetching the page's parts once, and keeping them for use without a network. */

import { checkEvidence, checkHeader, sha256, type Evidence, type Gate, type Header, type Index } from "./header";

export interface Parts {
  index: Index;
  header: Header;
  /** Null where the bundle has no figures, or figures of another model. */
  evidence: Evidence | null;
  /** Why figures that are there are not used. */
  refused: string | null;
  card: string;
  /** Still being compiled, perhaps. */
  engine: Promise<WebAssembly.Module>;
  graph: ArrayBuffer;
  /** Null where the bundle has none. */
  gate: Gate | null;
  thread: string;
  /** Resolves when what came is kept for use without a network. */
  kept: Promise<unknown>;
}

const GATE = "gate.onnx";

/** A file that is missing, changed, or of another kind than the page knows. */
export class PartError extends Error {}

/** Of this page alone: another one may lie in another folder of the same server. sw.js has the same. */
const CACHE = `dermdistill:${new URL(".", location.href).pathname}:`;

/** Fetch everything that the page will ever need. */
export async function fetchParts(): Promise<Parts> {
  const came = new Map<string, Response>();
  const bytes = async (path: string) => {
    const { headers, content } = await get(path);
    came.set(path, new Response(content, { headers: { "Content-Type": headers.get("Content-Type") ?? "" } }));
    return content;
  };
  const text = async (path: string) => new TextDecoder().decode(await bytes(path));
  const packed = bytes("engine.wasm.gz"); // the largest part: fetched and compiled while the others come
  const engine = packed.then(unpack).then((content) => WebAssembly.compile(content));
  engine.catch(() => undefined); // told to whoever waits for it
  const script = text("worker.js");
  script.catch(() => undefined);
  const index = JSON.parse(new TextDecoder().decode((await get("page.json")).content)) as Index;
  const [spec, graph, refuses, card, thread, figures] = await Promise.all([
    text(`${index.bundle}bundle.json`),
    bytes(index.bundle + index.graph),
    index.gate ? bytes(index.bundle + index.gate.graph) : null,
    text(`${index.bundle}MODEL_CARD.md`),
    script,
    index.evidence ? text(index.evidence) : null,
    packed,
  ]);
  const kept = keep(index.version, came);
  const header = JSON.parse(spec) as Header;
  checkHeader(header);
  await checkWhole(index.graph, graph, header);
  const gate = index.gate && refuses && { graph: refuses, reasons: index.gate.reasons };
  if (index.gate && refuses) await checkWhole(index.gate.graph, refuses, header);
  else if (GATE in header.files) throw new PartError(`page.json: ${GATE}`); // never answer past a gate
  const { evidence, refused } = judgeEvidence(figures, header);
  return { index, header, evidence, refused, card, engine, graph, gate, thread, kept };
}

/** Throw if a file is not the one that its bundle names. */
async function checkWhole(name: string, content: ArrayBuffer, header: Header): Promise<void> {
  const found = await sha256(content);
  if (found && found !== header.files[name]) throw new PartError(`${name}: ${found.slice(0, 12)}`);
}

function judgeEvidence(text: string | null, header: Header): Pick<Parts, "evidence" | "refused"> {
  if (!text) return { evidence: null, refused: null };
  const evidence = JSON.parse(text) as Evidence;
  try {
    checkEvidence(evidence, header);
  } catch (error) {
    return { evidence: null, refused: (error as Error).message };
  }
  return { evidence, refused: null };
}

async function get(path: string): Promise<{ headers: Headers; content: ArrayBuffer }> {
  const reply = await fetch(path);
  if (!reply.ok) throw new PartError(`${path}: ${reply.status}`);
  return { headers: reply.headers, content: await reply.arrayBuffer() };
}

/** Keep what came for the service worker. */
async function keep(version: string, came: Map<string, Response>): Promise<void> {
  try {
    const cache = await caches.open(CACHE + version);
    await Promise.all([...came].map(([path, reply]) => cache.put(path, reply)));
  } catch {
    // Private windows, pages without HTTPS and full disks: it costs the offline use, nothing else.
  }
}

/** The content of a gzip file; the content as it is, if the server has unpacked it already. */
async function unpack(content: ArrayBuffer): Promise<ArrayBuffer> {
  const [first, second] = new Uint8Array(content, 0, 2);
  if (first !== 0x1f || second !== 0x8b) return content;
  return new Response(new Blob([content]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

/** Let the page work without a network from the next visit on; resolves when the browser has accepted the request. */
export async function keepForOffline(kept: Promise<unknown>, done: () => void): Promise<void> {
  if (!("serviceWorker" in navigator)) return;
  try {
    await navigator.serviceWorker.register("sw.js");
    void Promise.all([navigator.serviceWorker.ready, kept]).then(done);
  } catch {
    // Without it the page needs a network at each visit.
  }
}
