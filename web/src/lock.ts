/**
 * Closing the page's connections before it takes an image.
 *
 * The page's policy lets it fetch its own parts. Once they are there, a second policy forbids every connection, that to
 * its own server too. Browsers add up policies, and none can be taken back: from then on the browser itself refuses
 * whatever would send an image away. Threads that start later from a blob come under the same policy.
 */

const CLOSED = [
  "default-src 'none'",
  "script-src 'wasm-unsafe-eval'",
  "worker-src blob:",
  "img-src blob: data:",
  "style-src 'self'",
  "manifest-src 'self'",
  "connect-src 'none'",
  "form-action 'none'",
  "base-uri 'none'",
].join("; ");

/** Close all connections, and check that they are: true if the browser refused one to this very server. */
export async function closeConnections(): Promise<boolean> {
  const policy = document.createElement("meta");
  policy.httpEquiv = "Content-Security-Policy";
  policy.content = CLOSED;
  document.head.append(policy);
  const refused = new Promise<boolean>((resolve) => {
    document.addEventListener("securitypolicyviolation", () => resolve(true), { once: true });
    setTimeout(() => resolve(false), 1000);
  });
  try {
    await fetch("page.json", { cache: "only-if-cached", mode: "same-origin" });
    return false;
  } catch {
    return refused;
  }
}
