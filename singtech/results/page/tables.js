// Tables: groups of rows (one <tbody> each) are sorted and filtered whole. A column is one of numbers if each of its
// cells begins with one and holds nothing else but its unit, spread or share; else words in natural order.
const empty = /^(|[—–?]|not run|not run yet)$/;
const number = /^[<>]?\s*([+-]?\d+(?:\.\d+)?)\s*(?:k|%|s|min|MB)?(?:\s*\(\d+\)|\s*±\s*[\d.]+\s*%?|\s+to\s+[+-]?[\d.]+)?$/;
const cell = (group, column) => (group.rows[0].cells[column] || group.rows[0].cells[0]).textContent.trim();
const amount = (text) => { const found = text.replace(/(?<=\d),(?=\d{3})/g, "").replaceAll("−", "-").match(number); return found && Number(found[1]); };
const pieces = (text) => text.split(/(\d+(?:\.\d+(?!\.?\d))?)/); // words, number, words, number, …
const natural = (one, other) => {
  const [a, b] = [pieces(one), pieces(other)];
  for (let k = 0; k < Math.min(a.length, b.length); k++) {
    const order = k % 2 ? a[k] - b[k] : a[k].localeCompare(b[k], "en");
    if (order) return order;
  }
  return a.length - b.length;
};
const original = new WeakMap(); // of each table its groups in their first order
const is_heading = (group) => group.rows[0].classList.contains("heading");
// The groups below each heading, which stay below it.
const divided = (groups) => groups.reduce((parts, group) => {
  if (is_heading(group) || !parts.length) parts.push([]);
  parts.at(-1).push(group);
  return parts;
}, []);
const ordered = (groups, column, sign) => {
  const texts = groups.map((group) => ({ group, text: cell(group, column) }));
  const filled = texts.filter(({ text }) => !empty.test(text));
  const numeric = filled.every(({ text }) => amount(text) !== null);
  filled.sort((a, b) => sign * (numeric ? amount(a.text) - amount(b.text) : natural(a.text, b.text)));
  return [...filled, ...texts.filter(({ text }) => empty.test(text))].map(({ group }) => group);
};
// Best first, then the other way, then as it was.
const sort = (table, header, column) => {
  const first = header.dataset.best || "ascending", second = first === "ascending" ? "descending" : "ascending";
  const direction = { [first]: second, [second]: "" }[header.getAttribute("aria-sort")] ?? first;
  table.querySelectorAll("th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
  if (direction) header.setAttribute("aria-sort", direction);
  const sign = direction === "ascending" ? 1 : -1;
  for (const part of divided(original.get(table))) {
    const headings = part.filter(is_heading), rest = part.filter((group) => !is_heading(group));
    table.append(...headings, ...(direction ? ordered(rest, column, sign) : rest));
  }
};
let filters = 0;
const equip = (table) => {
  original.set(table, [...table.tBodies]);
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    if (!header.textContent.trim()) return;
    const button = make("button", { type: "button", title: `sort by this column${header.dataset.best ? ", best first" : ""}; again for the other way, again for the first order` }, ...header.childNodes);
    header.replaceChildren(button);
    button.addEventListener("click", () => sort(table, header, column));
  });
  if (table.tBodies.length < 4) return;
  const input = make("input", { type: "search", id: `filter-${++filters}` });
  const label = make("label", { className: "filter", htmlFor: input.id }, "Show only rows with ", input);
  const none = make("p", { className: "quiet", hidden: true, role: "status" }, "No row has these words.");
  table.closest(".wide").before(label, none);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const has = (group) => words.every((word) => group.textContent.toLowerCase().includes(word));
    let found = 0;
    for (const part of divided([...table.tBodies])) {
      const rest = part.filter((group) => !is_heading(group));
      for (const group of rest) group.hidden = !has(group);
      const shown = rest.filter((group) => !group.hidden).length;
      part.filter(is_heading).forEach((group) => { group.hidden = !shown; });
      found += shown;
    }
    none.hidden = found > 0;
    table.hidden = !found;
  });
};
document.querySelectorAll("table.sortable").forEach(equip);
// A button beside each command copies it; where that is not allowed, it marks the text.
document.querySelectorAll(".command").forEach((place) => {
  const code = place.firstElementChild, button = make("button", { type: "button", className: "copy" }, "copy");
  button.addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(code.textContent); button.textContent = "copied"; } catch { getSelection().selectAllChildren(code); }
  });
  place.append(button);
});
