/** How images come in: dropped, pasted, chosen, or taken with the camera. */

import { at, h } from "./dom";
import { say } from "./texts";

type Take = (files: { name: string; file: Blob }[]) => void;

/** Listen for images; each batch goes to `take`. */
export function listenForImages(take: Take, example: () => void, problem: (text: string) => void): void {
  const given = (files: Iterable<File> | null | undefined) => {
    const list = Array.from(files ?? [], (file) => ({ name: file.name || "image", file }));
    if (list.length > 0) take(list);
  };
  const choose = at<HTMLInputElement>("files");
  const photo = at<HTMLInputElement>("photo");
  for (const input of [choose, photo]) {
    input.addEventListener("change", () => {
      given(input.files);
      input.value = "";
    });
  }
  at("choose").addEventListener("click", () => choose.click());
  at("example").addEventListener("click", example);
  at("camera").addEventListener("click", () => {
    if ("capture" in photo) photo.click(); // phones and tablets open their own camera
    else void takePicture(take).catch((error: Error) => problem(say("problem_camera", { why: error.message })));
  });
  at("camera").hidden = !("capture" in photo) && !navigator.mediaDevices;
  listenForDrops(given);
  document.addEventListener("paste", (event) => given(event.clipboardData?.files));
}

function listenForDrops(given: (files: FileList | null | undefined) => void): void {
  const zone = at("drop");
  const mark = (over: boolean) => zone.classList.toggle("over", over);
  let depth = 0; // entering a child leaves its parent
  document.addEventListener("dragenter", () => mark(++depth > 0));
  document.addEventListener("dragleave", () => mark((depth = Math.max(0, depth - 1)) > 0));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    mark(false);
    given(event.dataTransfer?.files);
  });
}

/** Show what a camera of this computer sees, a USB dermatoscope for one, until a picture is taken. */
async function takePicture(take: Take): Promise<void> {
  const stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 4096 }, facingMode: "environment" } });
  const dialog = at<HTMLDialogElement>("viewfinder");
  const video = at<HTMLVideoElement>("video");
  const close = () => dialog.close();
  const shoot = () => {
    const canvas = h("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d")!.drawImage(video, 0, 0);
    canvas.toBlob((file) => file && take([{ name: "camera.png", file }]), "image/png");
    close();
  };
  at("shoot").onclick = shoot;
  at("close-viewfinder").onclick = close;
  dialog.onclose = () => stream.getTracks().forEach((track) => track.stop());
  video.srcObject = stream;
  dialog.showModal();
  await video.play();
}
