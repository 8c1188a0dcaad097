// Learning curves: loss above and F1 below over the epochs of a run's phases, of one run or of several over each other.
if (data.curves.length) {
  const select = document.getElementById("curves-of"), place = document.getElementById("curves"), keep = document.getElementById("curves-keep");
  const width = Math.min(760, place.clientWidth || 760), left = 52, right = 12, top = 22, tall = 150, between = 26, bottom = 40;
  const height = top + 2 * tall + between + bottom, DASHES = { f1: "", validation_f1: "2 4" };
  let drawn = [0];
  const flat = (curve) => curve.phases.flatMap((phase, n) => phase.epoch.map((epoch, i) => ({ epoch, phase: n, loss: phase.loss[i], f1: phase.f1[i], validation_f1: phase.validation_f1?.[i] })));
  const show = () => {
    const runs = drawn.map((k) => ({ run: data.curves[k].run, points: flat(data.curves[k]) })), every = runs.flatMap(({ points }) => points);
    const first = Math.min(...every.map((p) => p.epoch)), last = Math.max(...every.map((p) => p.epoch)), most = Math.max(...every.map((p) => p.loss)) || 1;
    const x = (epoch) => left + ((epoch - first) / Math.max(1, last - first)) * (width - left - right);
    const y = { loss: (v) => top + tall * (1 - v / most), f1: (v) => top + tall + between + tall * (1 - v) };
    y.validation_f1 = y.f1;
    const end = every.at(-1);
    const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", tabindex: 0, "aria-label": `Loss and F1 by epoch of ${runs.map(({ run }) => run).join(", ")}; the last loss is ${end.loss.toFixed(3)}, the last F1 on training clips ${end.f1.toFixed(3)}` });
    for (const [name, title, top_value] of [["loss", "loss", most], ["f1", "F1", 1]]) {
      picture.append(svg("path", { class: "axis", fill: "none", d: `M${left} ${y[name](top_value)}V${y[name](0)}H${width - right}` }));
      for (const share of [0, 0.5, 1]) picture.append(svg("text", { x: left - 6, y: y[name](share * top_value) + 4, "text-anchor": "end" }, name === "loss" ? (share * most).toFixed(2) : share.toFixed(1)));
      picture.append(svg("text", { "text-anchor": "middle", transform: `translate(13 ${y[name](top_value / 2)}) rotate(-90)` }, title));
    }
    const step = [1, 2, 5, 10, 20, 50, 100, 200, 500].find((each) => (last - first) / each <= 10) || 1000;
    for (let epoch = Math.ceil(first / step) * step; epoch <= last; epoch += step) picture.append(svg("text", { x: x(epoch), y: height - bottom + 16, "text-anchor": "middle" }, epoch));
    picture.append(svg("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, "epoch"));
    data.curves[drawn.at(-1)].phases.forEach((phase, n) => {
      const start = x(phase.epoch[0]);
      if (n) picture.append(svg("path", { class: "axis", "stroke-dasharray": "4 4", d: `M${start} ${top}V${height - bottom}` }));
      picture.append(svg("text", { x: start + 4, y: top - 8 }, phase.name));
    });
    runs.forEach(({ points }, n) => {
      for (const name of ["loss", "f1", "validation_f1"]) {
        for (const phase of new Set(points.map((p) => p.phase))) { // their losses differ, so no line joins them
          const line = points.filter((p) => p.phase === phase && p[name] !== undefined).map((p) => `${x(p.epoch).toFixed(1)},${y[name](p[name]).toFixed(1)}`);
          if (line.length) picture.append(svg("polyline", { class: `curve run-${n % 6}`, "stroke-dasharray": DASHES[name] || "", points: line.join(" ") }));
        }
      }
    });
    const cursor = svg("path", { class: "axis", d: "", visibility: "hidden" });
    picture.append(cursor);
    const label = ({ run, points }, n, epoch) => {
      const point = points.find((p) => p.epoch === epoch), value = (name) => (point?.[name] === undefined ? "" : point[name].toFixed(3));
      const remove = make("button", { type: "button", title: "leave it out", "aria-label": `Leave ${run} out` }, "×");
      remove.addEventListener("click", () => { drawn = drawn.filter((_, other) => other !== n); show(); });
      return make("tr", {}, make("td", {}, svg("svg", { width: 22, height: 8, "aria-hidden": "true" }, svg("path", { class: `curve run-${n % 6}`, d: "M0 4H22" })), ` ${run} `, ...(runs.length > 1 ? [remove] : [])), ...["loss", "f1", "validation_f1"].map((name) => make("td", {}, value(name))));
    };
    const heads = make("tr", {}), body = make("tbody");
    const tell = (epoch) => {
      heads.replaceChildren(...[`Epoch ${epoch}`, "loss", "F1, training clips", "F1, validation clips"].map((text) => make("th", { scope: "col" }, text)));
      body.replaceChildren(...runs.map((each, n) => label(each, n, epoch)));
    };
    let now = last;
    const point = (epoch) => {
      now = Math.min(last, Math.max(first, epoch));
      cursor.setAttribute("d", `M${x(now)} ${top}V${height - bottom}`);
      cursor.setAttribute("visibility", "visible");
      tell(now);
    };
    picture.addEventListener("pointermove", (event) => {
      const box = picture.getBoundingClientRect();
      point(Math.round(first + (((event.clientX - box.left) * width) / box.width - left) / (width - left - right) * (last - first)));
    });
    picture.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (by) { event.preventDefault(); point(now + by); }
    });
    tell(last);
    const values = make("div", { className: "wide", tabIndex: 0, role: "region", "aria-label": "Values at an epoch" }, make("table", {}, make("thead", {}, heads), body));
    place.replaceChildren(picture, values, make("p", { className: "quiet" }, "F1 is that of training clips (solid) and of validation clips (dotted), where there are some. Point at an epoch, or step with the arrow keys, to read its values."));
  };
  options(select, data.curves.map((c) => c.run));
  select.addEventListener("change", () => {
    const chosen = Number(select.value);
    drawn = keep.checked ? [...drawn.filter((k) => k !== chosen), chosen].slice(-6) : [chosen];
    show();
  });
  show();
}
