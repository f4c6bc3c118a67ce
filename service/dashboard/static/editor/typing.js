// A textarea that indents, keeps what it changes in the browser's own history, and lets the keyboard out again.

const INDENT = "  ";

/** Puts `text` in place of the characters from `start` to `end`; Ctrl+Z takes it back. */
export function replace(area, start, end, text) {
  area.focus({ preventScroll: true });
  area.setSelectionRange(start, end);
  const done = start === end && !text ? true : document.execCommand(text ? "insertText" : "delete", false, text);
  if (!done) {
    area.setRangeText(text, start, end, "end");
    area.dispatchEvent(new Event("input", { bubbles: true }));
  }
}

function lineStart(text, at) {
  return text.lastIndexOf("\n", at - 1) + 1;
}

function shifted(area, back) {
  const { value, selectionStart, selectionEnd } = area;
  const start = lineStart(value, selectionStart);
  const end = selectionEnd > selectionStart && value[selectionEnd - 1] === "\n" ? selectionEnd - 1 : selectionEnd;
  const lines = value.slice(start, end).split("\n");
  const moved = lines.map((line) => (back ? line.replace(/^ {1,2}/, "") : line && INDENT + line)).join("\n");
  const before = value.slice(start, end);
  if (moved === before) return;
  const grown = moved.length - before.length;
  const first = moved.split("\n")[0].length - lines[0].length;
  replace(area, start, end, moved);
  area.setSelectionRange(Math.max(start, selectionStart + first), selectionEnd + grown);
}

/** What a new line begins with, given the one before the cursor. */
export function indentAfter(line) {
  const [, space, dash] = line.match(/^( *)((?:- +)*)/);
  const rest = line.slice(space.length + dash.length).replace(/\s#.*$/, "").trimEnd();
  if (!rest && dash) return null;
  if (/^[^\s{["'#][^#]*:\s*[|>]?[-+]?$/.test(rest)) return `${space}${" ".repeat(dash.length)}${INDENT}`;
  if (dash && /^[\w-]+:\s/.test(rest)) return `${space}${" ".repeat(dash.length)}`;
  return space + dash;
}

/** As far as one sees: the text itself is as high as all its lines, and would go to its end. */
function turn(area, way, select, reveal) {
  const frame = area.closest(".code");
  const page = frame.clientHeight - 2 * parseFloat(getComputedStyle(area).lineHeight);
  const lines = area.value.split("\n");
  const forward = area.selectionDirection !== "backward";
  const at = forward ? area.selectionEnd : area.selectionStart;
  const fixed = forward ? area.selectionStart : area.selectionEnd;
  const line = area.value.slice(0, at).split("\n").length - 1;
  const column = at - lineStart(area.value, at);
  const wanted = Math.round((page / area.scrollHeight) * lines.length) * way + line;
  const to = Math.max(0, Math.min(lines.length - 1, wanted));
  const target = lines.slice(0, to).reduce((sum, each) => sum + each.length + 1, 0) + Math.min(column, lines[to].length);
  if (select) area.setSelectionRange(Math.min(fixed, target), Math.max(fixed, target), target < fixed ? "backward" : "forward");
  else area.setSelectionRange(target, target);
  frame.scrollBy({ top: way * page });
  reveal();
}

export function listenToKeys(area, { submit, reveal }) {
  let leaving = false;
  area.addEventListener("keydown", (event) => {
    const { value, selectionStart, selectionEnd } = area;
    if (event.key === "Escape") {
      leaving = true;
      return;
    }
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      submit();
    } else if (event.key === "Tab" && !leaving && !event.ctrlKey && !event.altKey && !event.metaKey) {
      event.preventDefault();
      if (event.shiftKey || value.slice(selectionStart, selectionEnd).includes("\n")) shifted(area, event.shiftKey);
      else {
        const column = selectionStart - lineStart(value, selectionStart);
        replace(area, selectionStart, selectionEnd, " ".repeat(INDENT.length - (column % INDENT.length)));
      }
    } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      const start = lineStart(value, selectionStart);
      const before = value.slice(start, selectionStart);
      const indent = indentAfter(before);
      event.preventDefault();
      // an item that stays empty ends its list
      if (indent === null) replace(area, start, selectionEnd, "");
      else replace(area, selectionStart, selectionEnd, `\n${indent}`);
    }
    else if ((event.key === "PageDown" || event.key === "PageUp") && !event.ctrlKey && !event.altKey) {
      event.preventDefault();
      turn(area, event.key === "PageDown" ? 1 : -1, event.shiftKey, reveal);
    }
    if (!["Tab", "Shift"].includes(event.key)) leaving = false;
  });
  area.addEventListener("blur", () => {
    leaving = false;
  });
}
