/** The page's side of the thread that judges. */

import type { Gate, Header, Vector } from "./header";
import type { Reply, Request } from "./protocol";

/** Why there is no answer: a code that is also a key of the texts. */
export class Refusal extends Error {
  constructor(
    readonly reason: string,
    readonly detail: string,
  ) {
    super(detail);
  }
}

interface Waiting {
  resolve: (value: never) => void;
  reject: (error: Refusal) => void;
  tell?: (done: number) => void;
}

export class Engine {
  private readonly thread: Worker;
  private readonly waiting = new Map<number, Waiting>();
  private last = 0;

  /** Start the thread from its source, under the policy that holds now. */
  constructor(source: string) {
    const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    this.thread = new Worker(address);
    this.thread.onmessage = ({ data }) => this.take(data);
    this.thread.onerror = (event) => this.fail(event.message);
  }

  start(engine: WebAssembly.Module, graph: ArrayBuffer, gate: Gate | null, header: Header): Promise<void> {
    return this.ask<"start">({ kind: "start", engine, graph, gate, header });
  }

  /** Judge a test vector; null if the answer is right, else what is wrong. */
  check(vector: Vector): Promise<Reply["check"]> {
    return this.ask<"check">({ kind: "check", vector });
  }

  judge(file: Blob): Promise<Reply["judge"]> {
    return this.ask<"judge">({ kind: "judge", file });
  }

  explain(pixels: Uint8Array, tell: (done: number) => void): Promise<Reply["explain"]> {
    return this.ask<"explain">({ kind: "explain", pixels }, tell);
  }

  private ask<K extends Request["kind"]>(
    request: Extract<Request, { kind: K }>,
    tell?: (done: number) => void,
  ): Promise<Reply[K]> {
    const id = ++this.last;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject, ...(tell && { tell }) });
      this.thread.postMessage({ id, ...request });
    });
  }

  private take(data: { id: number; done?: number; value?: never; error?: string; detail?: string }): void {
    const waiting = this.waiting.get(data.id);
    if (!waiting) return;
    if (data.done !== undefined) return waiting.tell?.(data.done);
    this.waiting.delete(data.id);
    if (data.error) waiting.reject(new Refusal(data.error, data.detail ?? ""));
    else waiting.resolve(data.value as never);
  }

  private fail(message: string): void {
    for (const waiting of this.waiting.values()) waiting.reject(new Refusal("failed", message));
    this.waiting.clear();
  }
}
