// @ts-check
/** The examples of an empty conversation: one click each. */

import { byId } from "../dom.js";
import { dataUrl } from "../audio/pcm.js";
import { ofCanvas } from "../attachments.js";

/** @param {(text: string, attachments: import("../types").Attachment[]) => void} send */
export function startExamples(send) {
  const picture = byId("example-picture", HTMLCanvasElement);
  draw(picture);
  byId("example-ask", HTMLButtonElement).addEventListener("click", async () => {
    const response = await fetch(new URL("../samples/question.wav", import.meta.url));
    const file = new Uint8Array(await response.arrayBuffer());
    const url = dataUrl(file, "audio/wav");
    send("", [{ kind: "audio", name: "question.wav", url, bytes: file.length }]);
  });
  byId("example-show", HTMLButtonElement).addEventListener("click", () => {
    send("What do you see?", [ofCanvas(picture, "picture.png")]);
  });
  byId("example-count", HTMLButtonElement).addEventListener("click", () => send("Count from one to twelve.", []));
}

/** A red circle on white. @param {HTMLCanvasElement} canvas */
function draw(canvas) {
  const pen = canvas.getContext("2d");
  if (!pen) return;
  pen.fillStyle = "white";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.fillStyle = "red";
  pen.beginPath();
  pen.arc(canvas.width / 2, canvas.height / 2, canvas.width * 0.24, 0, 2 * Math.PI);
  pen.fill();
}
