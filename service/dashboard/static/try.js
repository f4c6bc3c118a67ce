// Asking the trained model: a drawing, a picture, a row of a table, numbers.
import { ask, element } from "./app.js";

// how the samples of a data set fill their square; drawings are made alike
const FITS = { mnist: { side: 28, inner: 20, byMass: true }, digits: { side: 32, inner: 32, byMass: false } };

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

/** The box around what is drawn: [left, top, width, height], null where nothing is. */
function boxOf(canvas) {
  const { width, height } = canvas;
  const pixels = canvas.getContext("2d").getImageData(0, 0, width, height).data;
  let [left, right, top, bottom] = [width, -1, height, -1];
  for (let y = 0; y < height; y += 1)
    for (let x = 0; x < width; x += 1)
      if (pixels[4 * (y * width + x)] > 20) [left, right, top, bottom] = [Math.min(left, x), Math.max(right, x), Math.min(top, y), Math.max(bottom, y)];
  return right < 0 ? null : [left, top, right - left + 1, bottom - top + 1];
}

/** How far the centre of mass lies from the middle: [across, down] in pixels. */
function offCentre(pen, side) {
  const drawn = pen.getImageData(0, 0, side, side).data;
  let [mass, x, y] = [0, 0, 0];
  for (let at = 0; at < side * side; at += 1) {
    const grey = (drawn[4 * at] * drawn[4 * at + 3]) / 255;
    [mass, x, y] = [mass + grey, x + grey * (at % side), y + grey * Math.floor(at / side)];
  }
  return [x, y].map((sum) => Math.round((side - 1) / 2 - sum / mass));
}

/** The drawing as the data set's own were made: its box fitted into the inner square, MNIST's with their centre of mass in the middle. */
function fitted(canvas, { side, inner, byMass }) {
  const square = element("canvas", { width: side, height: side });
  const pen = square.getContext("2d");
  pen.fillRect(0, 0, side, side);
  const box = boxOf(canvas);
  if (!box) return square;
  const scale = inner / Math.max(box[2], box[3]);
  const [wide, high] = [box[2] * scale, box[3] * scale];
  const placed = element("canvas", { width: side, height: side });
  const brush = placed.getContext("2d");
  brush.imageSmoothingQuality = "high";
  brush.drawImage(canvas, ...box, (side - wide) / 2, (side - high) / 2, wide, high);
  pen.drawImage(placed, ...(byMass ? offCentre(brush, side) : [0, 0]));
  return square;
}

function startDrawing(ask_, canvas) {
  const { job } = ask_.dataset;
  const fit = FITS[ask_.dataset.fit];
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const wipe = () => {
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, canvas.width, canvas.height);
  };
  wipe();
  Object.assign(pen, { lineWidth: 26, lineCap: "round", lineJoin: "round", strokeStyle: "#fff" });
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
  document.querySelector("#ask-drawing").addEventListener("click", () => (fit ? fitted(canvas, fit) : canvas).toBlob(send, "image/png"));
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
