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
const options = (select, items) => select.replaceChildren(...items.map((item, k) => make("option", { value: k }, item)));
const chooser = (id, items, show) => {
  const select = document.getElementById(id);
  if (!select || !items.length) return null;
  options(select, items);
  select.addEventListener("change", () => show(Number(select.value)));
  show(0);
  return select;
};
const svg = (name, attributes, ...children) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
};
