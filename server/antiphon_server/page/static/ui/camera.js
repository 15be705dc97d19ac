// @ts-check
/** A picture from the camera, in a dialog with its live image. */

import { byId } from "../dom.js";

const WIDEST = 768;

/** Throws an error with a sentence for the user. @returns {Promise<HTMLCanvasElement | null>} null: the user closed it */
export async function takePicture() {
  if (!navigator.mediaDevices) throw new Error("The browser gives the camera only to pages on localhost or over https.");
  const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } }).catch(() => {
    throw new Error("No camera was found, or it was not allowed.");
  });
  const dialog = byId("camera-dialog", HTMLDialogElement);
  const video = byId("camera-view", HTMLVideoElement);
  video.srcObject = stream;
  await video.play();
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  const picture = dialog.returnValue === "take" ? pictureOf(video) : null;
  for (const track of stream.getTracks()) track.stop();
  video.srcObject = null;
  return picture;
}

/** @param {HTMLVideoElement} video */
function pictureOf(video) {
  const scale = Math.min(1, WIDEST / video.videoWidth);
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(video.videoWidth * scale);
  canvas.height = Math.round(video.videoHeight * scale);
  canvas.getContext("2d")?.drawImage(video, 0, 0, canvas.width, canvas.height);
  return canvas;
}
