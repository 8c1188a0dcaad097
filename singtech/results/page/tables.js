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
const sort = (table, header, column) => {
  const first = header.dataset.best || "ascending";
  const direction = header.getAttribute("aria-sort") !== first ? first : first === "ascending" ? "descending" : "ascending";
  table.querySelectorAll("th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", direction);
  const sign = direction === "ascending" ? 1 : -1;
  const groups = [...table.tBodies].map((group) => ({ group, text: cell(group, column) }));
  const filled = groups.filter(({ text }) => !empty.test(text));
  const numeric = filled.every(({ text }) => amount(text) !== null);
  filled.sort((a, b) => sign * (numeric ? amount(a.text) - amount(b.text) : natural(a.text, b.text)));
  const last = groups.filter(({ text }) => empty.test(text));
  [...filled, ...last].forEach(({ group }) => table.append(group));
};
let filters = 0;
const equip = (table) => {
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    if (!header.textContent.trim()) return;
    const button = make("button", { type: "button", title: header.dataset.best ? "sort by this column, best first" : "sort by this column" }, ...header.childNodes);
    header.replaceChildren(button);
    button.addEventListener("click", () => sort(table, header, column));
  });
  if (table.tBodies.length < 4) return;
  const input = make("input", { type: "search", id: `filter-${++filters}` });
  const label = make("label", { className: "filter", htmlFor: input.id }, "Show only rows with ", input);
  table.closest(".wide").before(label);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const group of table.tBodies) {
      const text = group.textContent.toLowerCase();
      group.hidden = !words.every((word) => text.includes(word));
    }
  });
};
document.querySelectorAll("table.sortable").forEach(equip);
