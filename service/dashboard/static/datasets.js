// Data sets: an upload with its progress, and pages that follow what is being looked at.
import { element, ownToken, tick, toast } from "./app.js";
import "./copying.js";

const SOON = 1000;
const LATER = 5000;
const SELDOM = 15000;
const FOLDER = "A browser cannot send a folder. Pack it as a zip first, or send it from a terminal: trainyard datasets push NAME FOLDER";
const form = document.querySelector("#drop");

let file = null;
let request = null;

function part(id) {
  return form.querySelector(`#${id}`);
}

function refuse(words) {
  part("refused").replaceChildren(...(words ? [element("p", { className: "notice bad" }, words)] : []));
}

/** A name as the service takes it, from what the file is called. */
function nameOf(fileName) {
  const plain = fileName.toLowerCase().replace(/(\.(zip|tar|gz|tgz|bz2|xz|npz|csv|parquet))+$/, "");
  return plain.replace(/[^a-z0-9._-]+/g, "-").replace(/^[^a-z0-9]+/, "").slice(0, 64);
}

function pick(chosen) {
  refuse("");
  if (chosen.size > Number(form.dataset.most)) {
    refuse(`${chosen.name} has ${chosen.size.toLocaleString("en")} bytes; an upload may have ${Number(form.dataset.most).toLocaleString("en")} (TRAINYARD_UPLOAD_BYTES).`);
    return;
  }
  file = chosen;
  part("picked").replaceChildren(element("b", {}, chosen.name), ` ${(chosen.size / 1e6).toFixed(chosen.size < 1e6 ? 3 : 1)} MB`);
  part("name").value = nameOf(chosen.name);
  part("name").required = true;
  for (const id of ["picked", "sending", "name-help"]) part(id).hidden = false;
  part("name").focus();
}

function drop() {
  request?.abort();
  file = request = null;
  for (const id of ["picked", "sending", "name-help", "sent"]) part(id).hidden = true;
  part("name").required = false;
  part("file").value = "";
}

function words(answer) {
  try {
    return JSON.parse(answer.responseText).detail;
  } catch {
    return `The service answered ${answer.status}.`;
  }
}

function send() {
  const name = part("name").value.trim();
  refuse("");
  part("sent").hidden = false;
  part("sent").value = 0;
  part("send").setAttribute("aria-busy", "true");
  request = new XMLHttpRequest();
  request.open("PUT", `/v1/datasets/${encodeURIComponent(name)}`);
  for (const [name, value] of Object.entries({ "Content-Type": "application/octet-stream", ...ownToken() })) request.setRequestHeader(name, value);
  request.upload.addEventListener("progress", (event) => {
    if (event.lengthComputable) part("sent").value = (100 * event.loaded) / event.total;
  });
  request.addEventListener("loadend", () => {
    part("send").removeAttribute("aria-busy");
    part("sent").hidden = true;
  });
  request.addEventListener("load", ({ target }) => {
    if (target.status === 401) location.reload();
    else if (target.status >= 400) refuse(words(target));
    else location.assign(`/datasets/${encodeURIComponent(name)}?version=${JSON.parse(target.responseText).version}`);
  });
  request.addEventListener("error", () => refuse("The upload was cut off: the service does not answer, or refused it before its end. Try again."));
  request.addEventListener("abort", () => toast("The upload was stopped; nothing of it is kept."));
  request.send(file);
}

if (form) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (file && part("send").getAttribute("aria-busy") !== "true") send();
  });
  part("stop").addEventListener("click", drop);
  part("file").addEventListener("change", (event) => event.target.files[0] && pick(event.target.files[0]));
  for (const kind of ["dragenter", "dragover"]) {
    form.addEventListener(kind, (event) => {
      event.preventDefault();
      form.classList.add("over");
    });
  }
  for (const kind of ["dragleave", "drop"]) form.addEventListener(kind, () => form.classList.remove("over"));
  form.addEventListener("drop", (event) => {
    event.preventDefault();
    const [item, more] = event.dataTransfer.items;
    if (!item || item.kind !== "file") return;
    if (more) refuse("One file at a time: pack them as a zip.");
    else if (item.webkitGetAsEntry?.()?.isDirectory) refuse(FOLDER);
    else pick(item.getAsFile());
  });
}

/** What is being looked at is asked for often, everything else now and then. */
function follow() {
  const due = document.querySelector("[data-validating]") ? SOON : LATER;
  setTimeout(() => {
    if (!document.hidden) tick();
    follow();
  }, due);
}
follow();
setInterval(() => {
  if (!document.hidden && document.querySelector("#learning")) htmx.trigger("#learning", "seldom");
}, SELDOM);
