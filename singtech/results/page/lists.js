// Lists of clips: a number opens those that it counts; each is seen and heard there, or opened among the recordings.
const MOST_ROWS = 60;
const thumbnail = (clip) => {
  const { take } = clip, wide = 150, tall = 66;
  const line = make("i", {});
  const frame = make("button", { type: "button", className: "thumb", "aria-label": `Play ${take.name} from ${seconds(clip.at)}` }, line);
  if (take.picture) {
    const scale = wide / lengthOf(clip), share = shownShare(false);
    const picture = make("img", { src: take.picture, alt: "" });
    Object.assign(picture.style, { width: `${take.seconds * scale}px`, left: `${-clip.at * scale}px`, height: `${tall / share}px` });
    frame.append(picture);
  }
  if (!take.audio) frame.disabled = true;
  frame.addEventListener("click", () => {
    if (frame.classList.contains("on")) return hush();
    hear(clip, (share) => { frame.classList.add("on"); line.style.left = `${100 * share}%`; }, (isOver) => {
      frame.classList.remove("on");
      const next = isOver && document.getElementById("clip-list-on").checked && frame.closest("li").nextElementSibling;
      if (next) next.querySelector(".thumb").focus(), next.querySelector(".thumb").click();
    });
  });
  return frame;
};
const clipRow = (clip, note = "", conditions = view.against === null ? [view.by] : [view.by, view.against]) => {
  const link = make("a", { href: addressOf(clip) }, ...broken(clip.take.name));
  const said = conditions.map((k) => make("span", { className: isRight(clip, k) ? "right" : "wrong" }, `${saysOf(clip, k)} ${shareOf(clip, k)}`, make("small", {}, ` by ${data.conditions[k]}`)));
  const about = make("span", {}, link, make("small", {}, ` from ${seconds(clip.start)}`), make("br"), "sung ", make("b", {}, spoken(clip.take.technique)), `, ${spoken(clip.take.singer)}`, note && make("small", {}, ` — ${note}`));
  return make("li", {}, thumbnail(clip), make("div", {}, about, ...said));
};
const dialog = document.getElementById("clip-list");
// Groups are [title, [[clip, note], …]]; those after the first that has clips are folded.
const openList = (title, groups, conditions = undefined) => {
  const parts = groups.filter(([, members]) => members.length).map(([name, members], n) => {
    const list = make("ul", { className: "clips" });
    const more = make("button", { type: "button", className: "more" });
    const fill = () => {
      const first = list.children.length;
      list.append(...members.slice(first, first + MOST_ROWS).map(([clip, note]) => clipRow(clip, note, conditions)));
      const rest = members.length - list.children.length;
      more.hidden = !rest;
      more.textContent = `${Math.min(rest, MOST_ROWS)} more of ${rest}`;
    };
    more.addEventListener("click", fill);
    const part = make("details", { open: n === 0 }, make("summary", {}, `${name}: ${counted(members.length, "clip")}`), list, more);
    part.addEventListener("toggle", () => { if (part.open && !list.children.length) fill(); });
    if (n === 0) fill();
    return part;
  });
  dialog.querySelector("h2").textContent = title[0].toUpperCase() + title.slice(1);
  dialog.querySelector("div").replaceChildren(...(parts.length ? parts : [make("p", {}, "No clips.")]));
  dialog.showModal();
  dialog.querySelector(".thumb:enabled")?.focus();
};
if (dialog) {
  dialog.addEventListener("close", hush);
  dialog.addEventListener("click", (event) => { if (event.target === dialog || event.target.closest("a, .close")) dialog.close(); });
  dialog.addEventListener("keydown", (event) => { // up and down step through the clips
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const buttons = [...dialog.querySelectorAll("details[open] .thumb")];
    const next = buttons[buttons.indexOf(document.activeElement) + step];
    if (next) { event.preventDefault(); next.focus(); }
  });
}
const opener = (text, label, open) => {
  const button = make("button", { type: "button", className: "count", title: label, "aria-label": `${text}: ${label}` }, text);
  button.addEventListener("click", open);
  return button;
};

// Every F1 opens the technique's clips, and every singer in a table his or hers.
const ofSeeds = (n, seeds) => (seeds.length > 1 ? `by ${n} of ${seeds.length} seeds` : "");
const alone = (list) => list.map((clip) => [clip, ""]);
const openF1 = (label, technique) => {
  const k = data.conditions.indexOf(label), t = data.techniques.indexOf(technique);
  const seeds = (clip, fits) => clip.seeds[k].filter(fits).length;
  const groupOf = (members, fits) => members.map((clip) => [clip, seeds(clip, fits)]).filter(([, n]) => n).sort((a, b) => b[1] - a[1]).map(([clip, n]) => [clip, ofSeeds(n, clip.seeds[k])]);
  const sung = clips.filter((clip) => clip.take.technique === technique), other = clips.filter((clip) => clip.take.technique !== technique);
  const name = spoken(technique);
  openList(`${name}, ${label}`, [[`Missed (${name} taken for another)`, groupOf(sung, (n) => n !== t)], [`False (another taken for ${name})`, groupOf(other, (n) => n === t)], ["Right", groupOf(sung, (n) => n === t)]], [k]);
};
document.querySelectorAll("td[data-condition]").forEach((cell) => {
  const { condition, technique } = cell.dataset;
  if (!data.conditions.includes(condition) || !data.techniques.includes(technique) || !/\d/.test(cell.textContent)) return;
  cell.replaceChildren(opener(cell.textContent, `clips of ${spoken(technique)}, ${condition}`, () => openF1(condition, technique)));
});
const singers = [...new Set(takes.map((take) => take.singer))].sort(natural);
const openSinger = (singer) => {
  const own = clips.filter((clip) => clip.take.singer === singer), by = data.conditions[view.by];
  openList(`Singer ${singer}, ${by}`, [["Named wrongly", alone(own.filter((clip) => !isRight(clip, view.by)))], ["Named rightly", alone(own.filter((clip) => isRight(clip, view.by)))]], [view.by]);
};
document.querySelectorAll("main tbody :is(td, th):first-child").forEach((cell) => {
  const singer = cell.textContent.replace(/ \([\d,]+ clips?\)$/, "");
  if (singer !== cell.textContent && singers.includes(singer)) cell.replaceChildren(opener(cell.textContent, `clips of ${singer}`, () => openSinger(singer)));
});
