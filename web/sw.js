// Serves the page's own files from this device, so that it works without a network. Other addresses pass by.
const PAGE = "__PAGE__"; // its version and its files, filled in where the page is published

const CACHES = `dermdistill:${new URL(self.registration.scope).pathname}:`;
const CACHE = CACHES + PAGE.version;
const FILES = new Set(PAGE.files.map((name) => new URL(name, self.registration.scope).href));

self.addEventListener("install", (event) => event.waitUntil(keep().then(() => self.skipWaiting())));
self.addEventListener("activate", (event) => event.waitUntil(forget().then(() => self.clients.claim())));
self.addEventListener("fetch", (event) => {
  const { request } = event;
  const address = request.url.replace(/[?#].*/, "");
  if (request.method !== "GET" || !FILES.has(address)) return;
  event.respondWith(caches.open(CACHE).then((cache) => cache.match(address)).then((kept) => kept ?? fetch(request)));
});

// The page has put its large files there already.
async function keep() {
  const cache = await caches.open(CACHE);
  for (const address of FILES) {
    if (!(await cache.match(address))) await cache.add(address);
  }
}

async function forget() {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name.startsWith(CACHES) && name !== CACHE).map((name) => caches.delete(name)));
}
