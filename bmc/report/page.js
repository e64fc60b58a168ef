"use strict";
// Sorts and filters the tables of bundles, and opens what is folded before the page is printed.
// Without this script the page shows the same tables, unsorted.

const make = (name, properties) => Object.assign(document.createElement(name), properties);

// A bundle is a <tbody>: its figures, and the remarks below them, which move with it.
const bundlesOf = (table) => [...table.tBodies];

// Above the titles stands a row with the names of devices, if there are several.
const headsOf = (table) => [...table.tHead.rows[table.tHead.rows.length - 1].cells];

function valueOf(bundle, column) {
  const cell = bundle.rows[0].cells[column];
  if (!cell || cell.colSpan > 1) return null;
  if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
  const text = cell.textContent.trim();
  return text === "" ? null : text;
}

// Bundles without a figure in the column stay at the end, whatever the direction.
function compare(first, second, direction) {
  const missing = (value, other) => value === null || (typeof value === "string" && typeof other === "number");
  if (first === second) return 0;
  if (missing(first, second)) return 1;
  if (missing(second, first)) return -1;
  const order = typeof first === "number" ? first - second : first.localeCompare(second);
  return direction * order;
}

function sort(table, column, direction) {
  const heads = headsOf(table);
  heads.forEach((head) => head.removeAttribute("aria-sort"));
  heads[column].setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
  bundlesOf(table)
    .map((bundle) => [valueOf(bundle, column), bundle])
    .sort((first, second) => compare(first[0], second[0], direction))
    .forEach(([, bundle]) => table.append(bundle));
}

function makeSortable(table, choice) {
  headsOf(table).forEach((head, column) => {
    const title = head.textContent;
    const full = head.dataset.title || title;
    const button = make("button", { type: "button", textContent: title, title: `sort by ${full}` });
    button.addEventListener("click", () => {
      sort(table, column, head.getAttribute("aria-sort") === "ascending" ? -1 : 1);
      choice.value = String(column);
    });
    head.replaceChildren(button);
    choice.append(make("option", { value: String(column), textContent: full }));
  });
  choice.addEventListener("change", () => sort(table, Number(choice.value), 1));
}

// Every word must occur in the bundle's name, model, target or precision.
function filter(table, typed, count) {
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
  const bundles = bundlesOf(table);
  bundles.forEach((bundle) => {
    bundle.hidden = !words.every((word) => bundle.dataset.tags.includes(word));
  });
  const shown = bundles.filter((bundle) => !bundle.hidden).length;
  count.textContent = `${shown} of ${bundles.length}`;
}

for (const table of document.querySelectorAll("table.bundles")) {
  const input = make("input", { type: "search", placeholder: "filter: name, target or precision" });
  input.setAttribute("aria-label", "filter the bundles");
  const choice = make("select", {});
  choice.setAttribute("aria-label", "sort by");
  const count = make("span", {});
  count.setAttribute("role", "status");
  const tools = make("div", { className: "tools" });
  tools.append(input, "sort by", choice, count);
  table.before(tools);
  makeSortable(table, choice);
  input.addEventListener("input", () => filter(table, input.value, count));
  filter(table, "", count);
}

let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  folded.forEach((part) => { part.open = true; });
});
addEventListener("afterprint", () => folded.forEach((part) => { part.open = false; }));
