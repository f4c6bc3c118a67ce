// The colours below the text: one element for each line, made anew only where the line or its marks have changed.
import { element } from "../app.js";

export class Paint {
  constructor(root) {
    this.root = root;
    this.known = [];
  }

  /** `lines` as scanned; `marks` with `line`, `start` and `end` in the text; `here` is the line of the cursor, from 0. */
  draw(lines, marks, here) {
    const byLine = new Map();
    for (const mark of marks) byLine.set(mark.line - 1, [...(byLine.get(mark.line - 1) ?? []), mark]);
    let offset = 0;
    lines.forEach((scanned, at) => {
      const mine = byLine.get(at) ?? [];
      const spans = mine.map((mark) => [Math.max(0, mark.start - offset), Math.min(scanned.line.length, mark.end - offset), mark.severity]);
      const name = JSON.stringify([spans, at === here]);
      const before = this.known[at];
      if (!before || before.scanned !== scanned || before.name !== name) {
        const made = this.#line(scanned, spans, at === here);
        if (before) before.node.replaceWith(made);
        else this.root.append(made);
        this.known[at] = { scanned, name, node: made };
      }
      offset += scanned.line.length + 1;
    });
    for (const { node } of this.known.splice(lines.length)) node.remove();
  }

  #line({ line, tokens }, spans, isHere) {
    const node = element("div", { className: "line" });
    if (isHere) node.classList.add("here");
    if (spans.length) node.classList.add(spans.some(([, , severity]) => severity === "error") ? "bad" : "warned");
    const cuts = [...new Set([0, line.length, ...tokens.flatMap(({ start, end }) => [start, end]), ...spans.flatMap(([start, end]) => [start, end])])].sort((left, right) => left - right);
    for (let at = 0; at + 1 < cuts.length; at += 1) {
      const [start, end] = [cuts[at], cuts[at + 1]];
      const kind = tokens.find((token) => token.start <= start && end <= token.end)?.kind;
      const mark = spans.find((span) => span[0] <= start && end <= span[1])?.[2];
      const text = line.slice(start, end);
      if (!kind && !mark) node.append(text);
      else node.append(element("span", { className: [kind, mark && `marked ${mark}`].filter(Boolean).join(" ") }, text));
    }
    if (!line) node.append("\u200b");
    return node;
  }
}

/** Marks of an earlier text, moved to where they stand in this one; what was changed itself has no edit any more. */
export function moved(marks, before, after) {
  if (before === after) return marks;
  let start = 0;
  while (start < before.length && before[start] === after[start]) start += 1;
  let end = before.length;
  let grown = after.length - before.length;
  while (end > start && end + grown > start && before[end - 1] === after[end + grown - 1]) end -= 1;
  const lines = (text) => text.split("\n").length - 1;
  const down = lines(after.slice(start, end + grown)) - lines(before.slice(start, end));
  const shift = (each) => (each.end <= start ? each : each.start >= end ? { ...each, start: each.start + grown, end: each.end + grown } : null);
  return marks.map((mark) => {
    const fix = mark.fix && shift(mark.fix);
    if (mark.end < start) return { ...mark, fix };
    if (mark.start < end) return { ...mark, end: Math.max(mark.start, mark.end + grown), fix };
    return { ...mark, line: mark.line + down, start: mark.start + grown, end: mark.end + grown, fix };
  });
}
