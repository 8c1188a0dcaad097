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
