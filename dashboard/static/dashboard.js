// Panels come one by one, and again when the lakehouse has news of them. The URL says what is
// chosen; a change of it needs no reload.
"use strict";

const form = document.getElementById("choice");
const connection = document.getElementById("connection");
const panels = new Map();
const dark = window.matchMedia("(prefers-color-scheme: dark)");

for (const element of document.querySelectorAll("[data-panel]")) {
  panels.set(element.dataset.panel, { element, request: null, views: null, waiting: 0 });
}

function address(name) {
  const query = new URLSearchParams(location.search);
  query.set("scheme", dark.matches ? "dark" : "light");
  return `/panels/${name}?${query}`;
}

// Bokeh is large: figures and tables do not wait for it.
const bokeh = new Promise((resolve, reject) => {
  if (window.Bokeh) resolve();
  const script = document.getElementById("bokeh");
  script.addEventListener("load", resolve);
  script.addEventListener("error", reject);
});

async function refresh(name) {
  const panel = panels.get(name);
  panel.request?.abort();
  const request = (panel.request = new AbortController());
  panel.element.setAttribute("aria-busy", "true");
  let answer;
  try {
    const response = await fetch(address(name), { signal: request.signal });
    answer = await response.json();
  } catch (error) {
    if (error.name === "AbortError") return;
    answer = { state: "error", message: "The dashboard does not answer. Is it running?" };
  }
  if (panel.request !== request) return;
  await show(panel, answer);
  if (panel.request !== request) return;
  panel.element.setAttribute("aria-busy", "false");
}

async function show(panel, answer) {
  const body = panel.element.querySelector(".body");
  const opened = [...body.querySelectorAll("details")].map((each) => each.open);
  const focused = body.contains(document.activeElement)
    ? document.activeElement.getAttribute("href") ?? document.activeElement.tagName
    : null;
  if (answer.html === undefined) {
    // what was shown stays, and is said to be old
    body.querySelector(".message.error")?.remove();
    const message = document.createElement("p");
    message.className = "message error";
    message.textContent = answer.message;
    body.prepend(message);
    body.querySelector(".loading")?.remove();
    panel.element.dataset.state = "error";
    return;
  }
  panel.views?.clear();
  panel.views = null;
  body.style.minHeight = `${body.offsetHeight}px`; // what is below does not jump
  body.innerHTML = answer.html;
  body.querySelectorAll("details").forEach((each, place) => (each.open = opened[place] ?? false));
  const chart = body.querySelector(".chart");
  try {
    if (answer.chart && chart) await bokeh;
    if (answer.chart && chart) panel.views = await Bokeh.embed.embed_item(answer.chart, chart);
  } catch (error) {
    chart.textContent = "The chart could not be drawn. Its figures are in the table.";
    console.error(error);
  }
  body.style.minHeight = "";
  panel.element.dataset.state = answer.state;
  if (focused) {
    [...body.querySelectorAll("a, summary")]
      .find((each) => (each.getAttribute("href") ?? each.tagName) === focused)
      ?.focus({ preventScroll: true });
  }
}

// The first panel is what matters most: the others follow it.
async function refreshAll() {
  const [first, ...others] = panels.keys();
  for (const panel of panels.values()) panel.element.setAttribute("aria-busy", "true");
  await Promise.race([refresh(first), new Promise((resolve) => setTimeout(resolve, 500))]);
  others.forEach(refresh);
  offerChoices();
}

async function offerChoices() {
  const selects = [...form.elements].filter((each) => each.dataset.choices !== undefined);
  if (!selects.length) return;
  let choices;
  try {
    choices = await (await fetch(`/choices${location.search}`)).json();
  } catch {
    return; // what may be chosen stays as it was
  }
  for (const select of selects) {
    const chosen = select.value;
    const values = choices[select.name] ?? [];
    const all = chosen && !values.includes(chosen) ? [chosen, ...values] : values;
    select.replaceChildren(
      select.options[0],
      ...all.map((value) => new Option(value, value, false, value === chosen)),
    );
  }
}

function readForm() {
  const query = new URLSearchParams(new FormData(form));
  for (const [name, value] of [...query]) {
    const field = form.elements[name];
    const usual = { interval: "1h", metric: "concurrent_plays" }[name] ?? "";
    if (value === usual || field === undefined) query.delete(name);
  }
  return query;
}

function fillForm() {
  const query = new URLSearchParams(location.search);
  for (const field of form.elements) {
    if (!field.name) continue;
    const value = query.get(field.name) ?? { interval: "1h", metric: "concurrent_plays" }[field.name] ?? "";
    if (field.tagName === "SELECT" && ![...field.options].some((each) => each.value === value)) {
      field.add(new Option(value, value));
    }
    field.value = value;
  }
}

function go(query) {
  const text = query.toString();
  history.pushState(null, "", text ? `?${text}` : location.pathname);
  fillForm();
  refreshAll();
}

form.addEventListener("change", (event) => {
  const both = ["from", "to"].map((name) => form.elements[name]?.value);
  if (["from", "to"].includes(event.target.name) && !both[0] !== !both[1]) return;
  go(readForm());
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  go(readForm());
});
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-choice], a.button");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  const target = new URL(link.href);
  if (target.pathname !== location.pathname) return;
  event.preventDefault();
  go(target.searchParams);
});
window.addEventListener("popstate", () => {
  fillForm();
  refreshAll();
});
dark.addEventListener("change", refreshAll);

function say(state, text) {
  connection.dataset.state = state;
  connection.textContent = text;
}

let wasCut = false;
const source = new EventSource(`/news?panels=${[...panels.keys()]}`);
source.addEventListener("open", () => {
  say("live", "Live: shows what comes");
  if (wasCut) refreshAll();
  wasCut = false;
});
source.addEventListener("error", () => {
  wasCut = true;
  say("cut", "Not connected: what is shown may be old");
});
source.addEventListener("news", (event) => refresh(JSON.parse(event.data)));
window.addEventListener("pagehide", () => source.close());

refreshAll();
