// Learning curves: one run's phases one after the other.
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
