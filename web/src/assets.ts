/** Fetching the page's parts once, and keeping them for use without a network. */

import { checkEvidence, checkHeader, sha256, type Evidence, type Header, type Index } from "./header";

export interface Parts {
  index: Index;
  header: Header;
  /** Null where the bundle has no figures, or figures of another model. */
  evidence: Evidence | null;
  /** Why figures that are there are not used. */
  refused: string | null;
  card: string;
  engine: ArrayBuffer;
  graph: ArrayBuffer;
  thread: string;
}

/** A file that is missing, changed, or of another kind than the page knows. */
export class PartError extends Error {}

/** Of this page alone: another one may lie in another folder of the same server. sw.js has the same. */
const CACHE = `dermdistill:${new URL(".", location.href).pathname}:`;

/** Fetch everything that the page will ever need. */
export async function fetchParts(): Promise<Parts> {
  const index = (await (await get("page.json")).json()) as Index;
  const cache = await openCache(index.version);
  const bytes = async (path: string) => {
    const reply = await get(path);
    const kept = reply.clone();
    const content = await reply.arrayBuffer();
    await cache?.put(path, kept).catch(() => undefined); // a full disk costs the offline use, nothing else
    return content;
  };
  const text = async (path: string) => new TextDecoder().decode(await bytes(path));
  const [spec, graph, card, engine, thread, figures] = await Promise.all([
    text(`${index.bundle}bundle.json`),
    bytes(index.bundle + index.graph),
    text(`${index.bundle}MODEL_CARD.md`),
    bytes("engine.wasm.gz").then(unpack),
    text("worker.js"),
    index.evidence ? text(index.evidence) : null,
  ]);
  const header = JSON.parse(spec) as Header;
  checkHeader(header);
  const found = await sha256(graph);
  if (found && found !== header.files[index.graph]) throw new PartError(`${index.graph}: ${found.slice(0, 12)}`);
  const { evidence, refused } = judgeEvidence(figures, header);
  return { index, header, evidence, refused, card, engine, graph, thread };
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

async function get(path: string): Promise<Response> {
  const reply = await fetch(path);
  if (!reply.ok) throw new PartError(`${path}: ${reply.status}`);
  return reply;
}

async function openCache(version: string): Promise<Cache | null> {
  try {
    return await caches.open(CACHE + version);
  } catch {
    return null; // private windows and pages without HTTPS have none
  }
}

/** The content of a gzip file; the content as it is, if the server has unpacked it already. */
async function unpack(content: ArrayBuffer): Promise<ArrayBuffer> {
  const [first, second] = new Uint8Array(content, 0, 2);
  if (first !== 0x1f || second !== 0x8b) return content;
  return new Response(new Blob([content]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

/** Let the page work without a network from the next visit on; resolves when the browser has accepted the request. */
export async function keepForOffline(done: () => void): Promise<void> {
  if (!("serviceWorker" in navigator)) return;
  try {
    await navigator.serviceWorker.register("sw.js");
    void navigator.serviceWorker.ready.then(done);
  } catch {
    // Without it the page needs a network at each visit.
  }
}
