// A map of the features: a point a clip, alike clips side by side; a click is heard.
if (data.maps.length) {
  const place = document.getElementById("map-figure"), mapOf = document.getElementById("map-of"), colourBy = document.getElementById("map-colour"), layoutOf = document.getElementById("map-layout");
  const SHAPES = ["M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0", "M-3.6-3.6h7.2v7.2h-7.2z", "M0-4.8L4.6 3.4H-4.6z", "M0-5L5 0L0 5L-5 0z", "M0 4.8L4.6-3.4H-4.6z", "M-1.7-5h3.4v3.3h3.3v3.4h-3.3v3.3h-3.4v-3.3h-3.3v-3.4h3.3z"];
  const entries = data.maps.flatMap((map, m) => map.conditions.map((k) => ({ m, k }))).sort((a, b) => a.k - b.k);
  let only = "";
  const groupings = {
    technique: () => [data.techniques, (clip) => clip.take.technique],
    singer: () => [singers, (clip) => clip.take.singer],
    outcome: () => [["right", "wrong"], (clip) => (isRight(clip, entries[mapOf.value].k) ? "right" : "wrong")],
  };
  const mark = (n, kind) => svg("path", { d: SHAPES[n % SHAPES.length], fill: kind === "outcome" ? ["#56b4e9", "#d55e00"][n] : colour(n) });
  const show = () => {
    const { m, k } = entries[mapOf.value], { layouts, run, conditions } = data.maps[m], { axes, points } = layouts[layoutOf.value] || layouts[0];
    const kind = colourBy.value, [names, nameOf] = groupings[kind](), size = Math.min(600, place.clientWidth || 600), edge = 30, inner = size - 2 * edge;
    const there = clips.map((clip, n) => ({ clip, point: points[n] })).filter(({ point }) => point);
    const picture = svg("svg", { viewBox: `0 0 ${size} ${size}`, width: size, height: size, role: "img", "aria-label": `Map of ${counted(there.length, "clip")} of ${data.conditions[k]}, ${layouts[layoutOf.value].name}, by ${kind}` });
    picture.append(svg("path", { class: "axis", fill: "none", d: `M${edge} ${edge / 2}V${size - edge}H${size - edge / 2}` }));
    picture.append(svg("text", { x: size / 2, y: size - 8, "text-anchor": "middle" }, axes[0]), svg("text", { "text-anchor": "middle", transform: `translate(18 ${size / 2}) rotate(-90)` }, axes[1]));
    const chosen = document.createElement("div");
    chosen.id = "map-clip";
    for (const { clip, point: [x, y] } of there) {
      const name = nameOf(clip), n = names.indexOf(name);
      const dot = mark(n, kind);
      dot.setAttribute("transform", `translate(${(edge + 8 + ((x + 1000) / 2000) * (inner - 8)).toFixed(1)} ${(size - edge - 8 - ((y + 1000) / 2000) * (inner - 8)).toFixed(1)})`);
      dot.setAttribute("class", only && name !== only ? "dot faded" : "dot");
      dot.append(svg("title", {}, `${spoken(clip.take.technique)}, ${clip.take.singer}: ${saysOf(clip, k)}`));
      dot.addEventListener("click", () => {
        picture.querySelectorAll(".picked").forEach((other) => other.classList.remove("picked"));
        dot.classList.add("picked");
        const row = clipRow(clip, "", [k]);
        chosen.replaceChildren(make("ul", { className: "clips" }, row));
        row.querySelector(".thumb").click();
      });
      picture.append(dot);
    }
    const legend = names.map((name, n) => {
      const members = there.filter(({ clip }) => nameOf(clip) === name).length;
      const button = make("button", { type: "button", title: "show these alone, or all again" }, svg("svg", { viewBox: "-6 -6 12 12", width: 14, height: 14, "aria-hidden": "true" }, mark(n, kind)), ` ${spoken(name)} `, make("small", {}, members));
      button.setAttribute("aria-pressed", only === name);
      button.addEventListener("click", () => { only = only === name ? "" : name; show(); });
      return members ? [button] : [];
    }).flat();
    const alike = conditions.length > 1 ? ` ${conditions.map((c) => data.conditions[c]).join("; ")} share these features and differ in the head alone.` : "";
    document.getElementById("map-says").textContent = `Features of ${run}.${alike}`;
    place.replaceChildren(picture, make("div", { className: "beside" }, make("div", { className: "legend", role: "group", "aria-label": "Legend" }, ...legend), make("p", { className: "quiet" }, "A click on a point plays its clip; one on a name shows it alone."), chosen));
  };
  options(mapOf, entries.map(({ k }) => data.conditions[k]));
  options(layoutOf, data.maps[0].layouts.map(({ name }) => name));
  layoutOf.parentElement.hidden = layoutOf.options.length < 2;
  for (const select of [mapOf, layoutOf, colourBy]) select.addEventListener("change", () => { if (select === colourBy) only = ""; show(); });
  show();
}
