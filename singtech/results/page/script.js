"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const make = (name, options = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(options)) key in element ? (element[key] = value) : element.setAttribute(key, value);
  element.append(...children);
  return element;
};
const percent = (share) => (100 * share).toFixed(share < 0.0995 && share > 0 ? 1 : 0);
const spoken = (name) => name.replaceAll("_", " ");

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

const options = (select, items) => select.replaceChildren(...items.map((item, k) => make("option", { value: k }, item)));
const chooser = (id, items, show) => {
  const select = document.getElementById(id);
  if (!select || !items.length) return null;
  options(select, items);
  select.addEventListener("change", () => show(Number(select.value)));
  show(0);
  return select;
};

// Confusions: a matrix of the chosen condition, in percent of the true technique and in clips over all seeds.
chooser("matrix-of", data.confusions.map((c) => c.label), (k) => {
  const { label, techniques, counts } = data.confusions[k];
  const head = make("tr", {}, make("th", { scope: "col" }, "True \\ named"), ...techniques.map((t) => make("th", { scope: "col" }, spoken(t))));
  const lines = counts.map((row, r) => {
    const total = row.reduce((a, b) => a + b, 0);
    const cells = row.map((count) => {
      const cell = make("td", { className: "heat" }, total && count ? `${percent(count / total)} % (${count})` : "");
      cell.style.setProperty("--share", total ? count / total : 0);
      return cell;
    });
    return make("tr", {}, make("th", { scope: "row" }, spoken(techniques[r])), ...cells);
  });
  const caption = make("caption", {}, `${label}: percent of the true technique's clips, and clips over all seeds`);
  document.getElementById("matrix").replaceChildren(make("table", {}, caption, make("thead", {}, head), make("tbody", {}, ...lines)));
});

// Learning curves: one run's phases one after the other.
const svg = (name, attributes, ...children) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
};
const colours = { loss: "#d55e00", f1: "#0072b2", validation_f1: "#009e73" };
chooser("curves-of", data.curves.map((c) => c.run), (k) => {
  const { phases } = data.curves[k];
  const width = 760, height = 260, left = 46, bottom = 34, top = 22;
  const epochs = phases.flatMap((p) => p.epoch);
  const first = Math.min(...epochs), last = Math.max(...epochs);
  const most = Math.max(...phases.flatMap((p) => p.loss));
  const x = (e) => left + ((e - first) / Math.max(1, last - first)) * (width - left - 46);
  const y = { loss: (v) => height - bottom - (v / most) * (height - bottom - top), f1: (v) => height - bottom - v * (height - bottom - top) };
  y.validation_f1 = y.f1;
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `Loss and F1 over ${epochs.length} epochs of ${data.curves[k].run}; the last loss is ${phases.at(-1).loss.at(-1).toFixed(3)}, the last F1 on training clips ${phases.at(-1).f1.at(-1).toFixed(3)}` });
  picture.append(svg("path", { class: "axis", fill: "none", d: `M${left} ${top}V${height - bottom}H${width - 46}V${top}` }));
  for (const share of [0, 0.5, 1]) {
    picture.append(svg("text", { x: left - 6, y: y.f1(share) + 4, "text-anchor": "end" }, (share * most).toFixed(2)));
    picture.append(svg("text", { x: width - 40, y: y.f1(share) + 4 }, share.toFixed(1)));
  }
  for (const e of [first, Math.round((first + last) / 2), last]) picture.append(svg("text", { x: x(e), y: height - bottom + 15, "text-anchor": "middle" }, e));
  picture.append(svg("text", { x: width / 2, y: height - 4, "text-anchor": "middle" }, "epoch"));
  phases.forEach((phase, n) => {
    const start = x(phase.epoch[0]);
    if (n) picture.append(svg("path", { class: "axis", "stroke-dasharray": "4 4", d: `M${start} ${top}V${height - bottom}` }));
    picture.append(svg("text", { x: start + 4, y: top - 8 }, phase.name));
    for (const [name, colour] of Object.entries(colours)) {
      if (!phase[name]) continue;
      const points = phase.epoch.map((e, i) => `${x(e).toFixed(1)},${y[name](phase[name][i]).toFixed(1)}`);
      const style = { class: "curve", stroke: colour, points: points.join(" ") };
      if (name !== "loss") style["stroke-dasharray"] = name === "f1" ? "7 3" : "2 3";
      picture.append(svg("polyline", style));
    }
  });
  const key = `${data.curves[k].run}: loss (solid, left axis), F1 on training clips (dashed, right axis), F1 on validation clips (dotted), where there are some`;
  document.getElementById("curves").replaceChildren(picture, make("p", { className: "quiet" }, key));
});

// Recordings: chosen by singer, technique, context; heard, seen, and clip by clip what the chosen condition says.
const takes = data.recordings;
if (takes.length) {
  const list = document.getElementById("takes"), shown = document.getElementById("take");
  const choice = { singer: "", technique: "", context: "" };
  let current = takes[0].name;
  const condition = () => Number(document.getElementById("take-by").value || 0);
  const show = (take) => {
    current = take.name;
    const parts = [make("h3", {}, take.name)];
    if (take.picture) parts.push(make("img", { src: take.picture, alt: `Spectrogram of ${take.name}, ${take.clips.length} clips of ${data.clip_seconds} s, up to ${data.khz} kHz`, width: take.width, height: 160 }));
    if (take.audio) parts.push(make("audio", { controls: true, src: take.audio, preload: "none", "aria-label": `Recording ${take.name}` }));
    else parts.push(make("p", { className: "quiet" }, "Not to be heard here."));
    const k = condition();
    const head = make("tr", {}, make("th", { scope: "col" }, "From"), ...data.techniques.map((t) => make("th", { scope: "col", className: t === take.technique ? "true" : "" }, spoken(t))));
    const lines = take.clips.map((clip) => {
      const probabilities = clip.by[k];
      const cells = data.techniques.map((t, j) => {
        const share = probabilities ? probabilities[j] / 1000 : 0;
        const cell = make("td", { className: t === take.technique ? "heat true" : "heat" }, probabilities ? percent(share) : "—");
        cell.style.setProperty("--share", share);
        return cell;
      });
      return make("tr", {}, make("th", { scope: "row" }, `${clip.start.toFixed(1)} s`), ...cells);
    });
    const caption = make("caption", {}, `Probability of each technique in percent, ${data.conditions[k]}; sung: ${spoken(take.technique)}`);
    parts.push(make("div", { className: "wide", tabIndex: 0, role: "region", "aria-label": "Probabilities, clip by clip" }, make("table", {}, caption, make("thead", {}, head), make("tbody", {}, ...lines))));
    shown.replaceChildren(...parts);
    list.querySelectorAll("button").forEach((button) => button.setAttribute("aria-pressed", button.dataset.name === take.name));
  };
  const fill = () => {
    const found = takes.filter((take) => Object.entries(choice).every(([key, wanted]) => !wanted || take[key] === wanted));
    list.replaceChildren(...found.map((take) => {
      const button = make("button", { type: "button" }, take.name);
      button.dataset.name = take.name;
      button.addEventListener("click", () => show(take));
      return make("li", {}, button);
    }));
    document.getElementById("takes-count").textContent = `${found.length} of ${takes.length} recordings`;
    if (found.length) show(found.find((take) => take.name === current) || found[0]);
  };
  for (const key of Object.keys(choice)) {
    const select = document.getElementById(`take-${key}`);
    const there = [...new Set(takes.map((take) => take[key]))].sort();
    select.replaceChildren(make("option", { value: "" }, "all"), ...there.map((name) => make("option", { value: name }, spoken(name))));
    select.addEventListener("change", () => { choice[key] = select.value; fill(); });
  }
  const by = document.getElementById("take-by");
  options(by, data.conditions);
  by.addEventListener("change", () => show(takes.find((take) => take.name === current)));
  fill();
  document.querySelectorAll("a[data-take]").forEach((link) => link.addEventListener("click", () => {
    for (const key of Object.keys(choice)) { choice[key] = ""; document.getElementById(`take-${key}`).value = ""; }
    current = link.dataset.take;
    fill();
  }));
}
