// The icon of the tab has a dot while the title counts open alerts.
function showInIcon(title) {
  const icon = document.querySelector("link[rel=icon]");
  if (!icon?.dataset.dotted) return;
  icon.dataset.plain ??= icon.href;
  const wanted = title.startsWith("(") ? new URL(icon.dataset.dotted, location.href).href : icon.dataset.plain;
  if (icon.href !== wanted) icon.href = wanted;
}
showInIcon(document.title);

// How many are ticked; the bar that acts on them shows itself by its style sheet.
document.addEventListener("change", (event) => {
  if (!event.target.matches("input[name=ids]")) return;
  const number = document.querySelectorAll("input[name=ids]:checked").length;
  for (const text of document.querySelectorAll("[data-ticked]")) {
    text.textContent = number;
    text.nextElementSibling.textContent = number === 1 ? "alert is ticked" : "alerts are ticked";
  }
});

// Live parts: they refresh themselves, and say so if that fails or if they wait for the reader.
const STALE_AFTER = 3; // failed refreshes in a row until the page says that it is out of date
const HIDDEN_EVERY = 6; // a hidden page refreshes only its title, and only every sixth time

// Nothing is swapped between press and release of a pointer: the click would be lost.
let pressed = false;
addEventListener("pointerdown", () => (pressed = true), true);
for (const name of ["pointerup", "pointercancel"]) addEventListener(name, () => setTimeout(() => (pressed = false)), true);

// The text of a part for comparison: without times, which always change, and with the state that its forms were made for.
function contentKey(part) {
  const copy = part.cloneNode(true);
  for (const time of copy.querySelectorAll("time")) time.remove();
  const seen = Array.from(copy.querySelectorAll("input[name=seen]"), (field) => field.value);
  return [copy.textContent.replace(/\s+/g, " ").trim(), ...seen].join("\n");
}

function isSelectedIn(part) {
  const selection = document.getSelection();
  return !selection.isCollapsed && selection.getRangeAt(0).intersectsNode(part);
}

function rowsOf(part) {
  return Array.from(part.querySelectorAll("[data-row]"), (row) => row.dataset.row);
}

// A row under the keyboard focus or the pointer stays where it is. A pointer that has rested for a while holds nothing:
// nobody is about to click with it.
const RESTS_AFTER = 20_000; // ms
let movedAt = -Infinity;
addEventListener("pointermove", (event) => event.pointerType === "mouse" && (movedAt = performance.now()), { passive: true });

function isUnderPointer(part) {
  return performance.now() - movedAt < RESTS_AFTER && part.querySelector("[data-row]:hover") !== null;
}

// Change what differs and nothing else, so that focus, selection and open menus of the rest stay.
function morph(part, fresh) {
  // What the reader ticked stays ticked, as long as its row is there.
  for (const box of part.querySelectorAll("[data-row] input[type=checkbox]:checked")) {
    const row = box.closest("[data-row]");
    const again = fresh.querySelector(`[data-row="${CSS.escape(row.dataset.row)}"] input[type=checkbox]`);
    if (again) again.setAttribute("checked", "");
  }
  window.Idiomorph.morph(part, fresh.innerHTML, { morphStyle: "innerHTML", ignoreActiveValue: true });
}

// The texts of rows that are in both are brought up to date, and no row comes, goes or moves.
function refreshRows(part, fresh) {
  for (const row of part.querySelectorAll("[data-row]")) {
    const newRow = fresh.querySelector(`[data-row="${CSS.escape(row.dataset.row)}"]`);
    if (!newRow || isSelectedIn(row)) continue;
    for (const name of [".meta", ".pills"]) {
      const text = row.querySelector(name);
      const newText = newRow.querySelector(name);
      if (text && newText && text.innerHTML !== newText.innerHTML) text.innerHTML = newText.innerHTML;
    }
  }
}

// One part that is swapped as a whole. It waits while the reader works in it. With data-live="changed" it is swapped
// only if its text has changed, and a focus on a button or link does not make it wait.
function livePart(part) {
  const onlyChanged = part.dataset.live === "changed";
  const note = document.createElement("p");
  note.className = "waiting";
  note.setAttribute("role", "status");
  note.hidden = true;
  part.before(note);
  let newer = null;

  const busy = () => {
    const focused = document.activeElement;
    const inside = focused !== part && part.contains(focused);
    const held = inside && !(onlyChanged && focused.matches("a, button, summary"));
    return pressed || held || isUnderPointer(part) || isSelectedIn(part) || part.querySelector("details[open] form") !== null;
  };

  const settle = () => {
    newer = null;
    note.hidden = true;
    note.replaceChildren();
  };

  const show = () => {
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    morph(part, newer);
    settle();
    if (!focused || part.contains(document.activeElement)) return;
    const alike = Array.from(part.querySelectorAll(focused.tagName)).find((other) => other.textContent === focused.textContent);
    part.tabIndex = -1;
    (alike || part).focus({ preventScroll: true });
  };

  const say = () => {
    const known = new Set(rowsOf(part));
    const added = rowsOf(newer).filter((row) => !known.has(row)).length;
    const text = `${added ? `${added} new` : "There is news"}: not shown while you are in here.`;
    if (note.firstChild?.textContent === text) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Show now";
    button.addEventListener("click", () => {
      document.getSelection().removeAllRanges();
      show();
      part.tabIndex = -1;
      part.focus({ preventScroll: true });
    });
    const label = document.createElement("span");
    label.textContent = text;
    note.replaceChildren(label, button);
    note.hidden = false;
  };

  const showWhenFree = () => setTimeout(() => newer && !busy() && show());
  for (const name of ["focusout", "selectionchange", "pointerup"]) document.addEventListener(name, showWhenFree);

  return (fresh) => {
    const changed = contentKey(part) !== contentKey(fresh);
    if (onlyChanged && !changed) return settle();
    newer = fresh;
    if (!busy()) return show();
    if (!pressed) refreshRows(part, fresh);
    return changed ? say() : undefined;
  };
}

function keepFresh(part) {
  const every = Number(part.dataset.every || 5) * 1000;
  const stale = document.getElementById(part.dataset.stale);
  const inner = Array.from(part.querySelectorAll("[data-live]"), (live) => [live.id, livePart(live)]);
  const whole = inner.length ? null : livePart(part);
  const titled = part.querySelector("[data-page-title]") !== null;
  let failures = 0;
  let refreshes = 0;
  let version = ""; // of what was shown last; the server answers 204 while it is the same
  let updatedAt = new Date();

  const say = (text) => {
    if (!stale) return;
    stale.textContent = text;
    stale.hidden = !text;
  };

  function update(text) {
    const fresh = document.createElement("div");
    fresh.innerHTML = text;
    const title = fresh.querySelector("[data-page-title]");
    if (title) document.title = title.textContent;
    // Numbers are updated even while the reader works in their part.
    for (const number of fresh.querySelectorAll("[data-number]")) {
      const current = document.getElementById(number.id);
      if (!current || current.textContent === number.textContent) continue;
      current.textContent = number.textContent;
      current.className = number.className;
    }
    for (const copy of document.querySelectorAll("[data-copies]")) {
      const number = fresh.querySelector(`#${copy.dataset.copies}`);
      if (number) copy.textContent = number.textContent === "0" ? "" : number.textContent;
    }
    showInIcon(document.title);
    whole?.(fresh);
    for (const [id, swap] of inner) {
      const newPart = fresh.querySelector(`#${id}`);
      if (newPart) swap(newPart);
    }
  }

  async function refresh() {
    refreshes += 1;
    if (document.hidden && !(titled && refreshes % HIDDEN_EVERY === 0)) return true;
    try {
      const answer = await fetch(part.dataset.refresh, {
        headers: { "X-Requested-With": "fetch", "X-Heartbeat-Version": version },
        redirect: "manual",
        cache: "no-store",
        signal: AbortSignal.timeout(Math.max(every, 5000)),
      });
      if (answer.type === "opaqueredirect" || [401, 403, 404].includes(answer.status)) {
        say("This page is no longer kept up to date: you were signed out or may not see it any more. Reload it.");
        return false;
      }
      if (!answer.ok) throw new Error(answer.statusText);
      if (answer.status !== 204) {
        version = answer.headers.get("X-Heartbeat-Version") ?? "";
        update(await answer.text());
      }
      failures = 0;
      updatedAt = new Date();
      say("");
    } catch {
      failures += 1;
      if (failures >= STALE_AFTER) say(`Not up to date: no answer from the server since ${updatedAt.toLocaleTimeString()}.`);
    }
    return true;
  }

  const loop = async () => {
    if (await refresh()) setTimeout(loop, every);
  };
  setTimeout(loop, every);
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
}

for (const part of document.querySelectorAll("[data-refresh]")) keepFresh(part);
