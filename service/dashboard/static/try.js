// Asking the trained model: a drawing, a picture, a row of a table, numbers.
import { ask, element } from "./app.js";

const SIDE = 28;
const INNER = 20;

function answer(predicted) {
  const place = document.querySelector("#answer");
  const said = predicted.classes?.[0];
  const sure = predicted.probabilities?.[0];
  const words = said === undefined || said === null ? predicted.outputs[0] : said;
  const shown = [element("p", { className: "said", id: "said" }, Array.isArray(words) ? words.map((each) => (typeof each === "number" ? Number(each.toPrecision(5)) : each)).join(", ") || "none" : `${words}`)];
  if (sure && sure.length === predicted.names.length) {
    const best = predicted.names.map((name, at) => [name, sure[at]]).sort((left, right) => right[1] - left[1]).slice(0, 5);
    shown.push(element("ol", {}, ...best.map(([name, share]) => element("li", {}, element("span", {}, name), element("progress", { max: 1, value: share, ariaLabel: name }), element("span", { className: "num" }, `${(100 * share).toFixed(1)} %`)))));
  }
  place.replaceChildren(...shown);
}

async function put(job, body, kind, query = "") {
  const place = document.querySelector("#answer");
  place.replaceChildren(element("p", { className: "muted" }, "Asking…"));
  try {
    answer(await ask(`/v1/jobs/${job}/predict${query}`, { method: "POST", body, headers: { "Content-Type": kind } }));
  } catch (error) {
    place.replaceChildren(element("p", { className: "notice bad", role: "alert" }, error.message));
  }
}

/** The drawing as MNIST's were made: its box fitted into 20 x 20, its centre of mass in the middle of 28 x 28. */
function centred(canvas) {
  const { width, height } = canvas;
  const pixels = canvas.getContext("2d").getImageData(0, 0, width, height).data;
  let [left, right, top, bottom] = [width, -1, height, -1];
  for (let y = 0; y < height; y += 1)
    for (let x = 0; x < width; x += 1)
      if (pixels[4 * (y * width + x)] > 20) [left, right, top, bottom] = [Math.min(left, x), Math.max(right, x), Math.min(top, y), Math.max(bottom, y)];
  const small = element("canvas", { width: SIDE, height: SIDE });
  const pen = small.getContext("2d");
  pen.fillRect(0, 0, SIDE, SIDE);
  if (right < 0) return small;
  const scale = INNER / Math.max(right - left + 1, bottom - top + 1);
  const [wide, high] = [(right - left + 1) * scale, (bottom - top + 1) * scale];
  const fitted = element("canvas", { width: SIDE, height: SIDE });
  const brush = fitted.getContext("2d");
  brush.imageSmoothingQuality = "high";
  brush.drawImage(canvas, left, top, right - left + 1, bottom - top + 1, (SIDE - wide) / 2, (SIDE - high) / 2, wide, high);
  const drawn = brush.getImageData(0, 0, SIDE, SIDE).data;
  let [mass, x, y] = [0, 0, 0];
  for (let at = 0; at < SIDE * SIDE; at += 1) {
    const grey = (drawn[4 * at] * drawn[4 * at + 3]) / 255;
    [mass, x, y] = [mass + grey, x + grey * (at % SIDE), y + grey * Math.floor(at / SIDE)];
  }
  pen.drawImage(fitted, Math.round((SIDE - 1) / 2 - x / mass), Math.round((SIDE - 1) / 2 - y / mass));
  return small;
}

function startDrawing(ask_, canvas) {
  const job = ask_.dataset.job;
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const wipe = () => {
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, canvas.width, canvas.height);
  };
  wipe();
  Object.assign(pen, { lineWidth: 22, lineCap: "round", lineJoin: "round", strokeStyle: "#fff" });
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * canvas.width) / box.width, ((event.clientY - box.top) * canvas.height) / box.height];
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pen.beginPath();
    pen.moveTo(...at(event));
    pen.lineTo(...at(event));
    pen.stroke();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!event.buttons) return;
    pen.lineTo(...at(event));
    pen.stroke();
  });
  const send = (picture) => put(job, picture, picture.type, "?resize=true");
  document.querySelector("#ask-drawing").addEventListener("click", () => centred(canvas).toBlob(send, "image/png"));
  document.querySelector("#wipe").addEventListener("click", wipe);
  document.querySelector("#picture").addEventListener("change", (event) => event.target.files[0] && send(event.target.files[0]));
  for (const type of ["dragover", "dragleave", "drop"])
    canvas.addEventListener(type, (event) => {
      event.preventDefault();
      canvas.classList.toggle("over", type === "dragover");
      const [file] = type === "drop" ? event.dataTransfer.files : [];
      if (file) send(file);
    });
}

function cell(text) {
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function startForm(ask_, form) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (form.dataset.ask === "row") {
      const entries = [...new FormData(form)];
      put(ask_.dataset.job, `${entries.map(([name]) => cell(name)).join(",")}\n${entries.map(([, value]) => cell(value)).join(",")}\n`, "text/csv");
    } else put(ask_.dataset.job, `{"inputs": [${form.querySelector("textarea").value}]}`, "application/json");
  });
}

document.addEventListener("htmx:afterSwap", () => {
  const place = document.querySelector("#ask");
  if (!place || place.dataset.begun) return;
  place.dataset.begun = "yes";
  const canvas = place.querySelector("#draw");
  if (canvas) startDrawing(place, canvas);
  const form = place.querySelector("form");
  if (form) startForm(place, form);
});
