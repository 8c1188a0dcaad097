// A recording's picture, with what is drawn over it: what its clips are named, their borders, kHz, seconds, a playhead.
const mel = (khz) => 2595 * Math.log10(1 + khz / 0.7);
const shownShare = (isFull) => (isFull || !data.khz ? 1 : mel(data.usual_khz) / mel(data.khz));
const STRIP = 24, GAP = 3, TALL = 200, SIDE = 54, FOOT = 34;
const stepOf = (least) => [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300].find((step) => step >= least) || 600;
const drawPicture = (take, isFull, seek) => {
  const room = document.getElementById("take").clientWidth - SIDE - 4;
  const clip_seconds = data.clip_seconds || take.seconds;
  const scale = Math.max(Math.min(room / take.seconds, 280), 92 / clip_seconds); // pixels a second
  const width = Math.round(take.seconds * scale), strips = view.against === null ? 1 : 2;
  const top = strips * STRIP + GAP, height = top + TALL + FOOT, most = isFull ? data.khz : data.usual_khz;
  const y = (khz) => top + TALL * (1 - mel(khz) / mel(most || 1));
  const side = svg("svg", { width: SIDE, height, "aria-hidden": "true" });
  for (let n = 0; n < strips; n++) side.append(svg("text", { x: SIDE - 6, y: n * STRIP + 16, "text-anchor": "end" }, strips === 1 ? "named" : n ? "against" : "by"));
  if (most) {
    const ticks = [0, 0.25, 0.5, 1, 2, 4, 8, 16].filter((khz) => khz <= most);
    if (y(ticks.at(-1)) - y(most) > 12) ticks.push(most);
    for (const khz of ticks) side.append(svg("path", { class: "axis", d: `M${SIDE - 5} ${y(khz)}h5` }), svg("text", { x: SIDE - 8, y: y(khz) + 4, "text-anchor": "end" }, khz));
    side.append(svg("text", { x: 0, y: 0, "text-anchor": "middle", transform: `translate(10 ${top + TALL / 2}) rotate(-90)` }, "kHz"));
  }
  const over = svg("svg", { width, height, role: "presentation" });
  const says = (clip, by, n) => {
    const k = clip.named[by], x = clip.at * scale, w = lengthOf(clip) * scale;
    const label = svg("text", { x: x + w / 2, y: n * STRIP + 16, "text-anchor": "middle", style: `fill: ${k === null ? "currentColor" : inkOn(k)}` }, saysOf(clip, by));
    const box = svg("rect", { x: x + 0.5, y: n * STRIP + 0.5, width: Math.max(1, w - 1), height: STRIP - 2, fill: k === null ? "none" : colour(k) });
    if (!isRight(clip, by)) box.setAttribute("class", "missed");
    const ranks = clip.by[by] ? clip.by[by].map((p, j) => [p, j]).sort((a, b) => b[0] - a[0]).slice(0, 3).map(([p, j]) => `${spoken(data.techniques[j])} ${percent(p / 1000)} %`) : [];
    return svg("g", {}, svg("title", {}, `${data.conditions[by]}: ${ranks.join(", ")}; sung: ${spoken(take.technique)}`), box, label);
  };
  const named = [view.by, view.against].slice(0, strips).flatMap((by, n) => take.clips.map((clip) => says(clip, by, n)));
  const borders = take.clips.slice(1).map((clip) => svg("path", { class: "border", d: `M${clip.at * scale} ${top}v${TALL}` }));
  const first = take.clips[0].start, step = stepOf(56 / scale), times = [];
  for (let t = Math.ceil(first / step - 1e-9) * step; t <= first + take.seconds + 1e-9; t += step) {
    const x = Math.min((t - first) * scale, width - 1), anchor = x < 12 ? "start" : x > width - 14 ? "end" : "middle";
    times.push(svg("path", { class: "axis", d: `M${x} ${top + TALL}v5` }), svg("text", { x, y: top + TALL + 17, "text-anchor": anchor }, Number(t.toFixed(2))));
  }
  times.push(svg("text", { x: Math.min(width, room) / 2, y: height - 3, "text-anchor": "middle" }, "seconds"));
  const frame = svg("rect", { class: "chosen", y: top + 1, height: TALL - 2, fill: "none" });
  const head = svg("g", { class: "playhead" }, svg("path", { d: `M0 ${top}v${TALL}` }), svg("path", { d: `M0 ${top}v${TALL}` }));
  over.append(...named, ...borders, frame, ...times, head);
  const ground = make("div", { className: "ground" });
  Object.assign(ground.style, { top: `${top}px`, height: `${TALL}px`, width: `${width}px` });
  if (take.picture) {
    const picture = make("img", { src: take.picture, alt: `Spectrogram of ${take.name}: ${counted(take.clips.length, "clip")}, ${seconds(take.seconds)}, 0 to ${most} kHz on a mel axis` });
    picture.style.height = `${TALL / shownShare(isFull)}px`;
    ground.append(picture);
  }
  const stage = make("div", { className: "stage" }, ground, over);
  Object.assign(stage.style, { width: `${width}px`, height: `${height}px` });
  const scroller = make("div", { className: "scroller" }, stage);
  over.addEventListener("click", (event) => seek((event.clientX - over.getBoundingClientRect().left) / scale));
  const follow = (x) => { if (x < scroller.scrollLeft || x > scroller.scrollLeft + scroller.clientWidth - 8) scroller.scrollLeft = x - 40; };
  return {
    element: make("div", { className: "spectrogram" }, side, scroller),
    place: (time) => { head.setAttribute("transform", `translate(${Math.min(time * scale, width - 1)} 0)`); follow(time * scale); },
    choose: (clip) => { frame.setAttribute("x", clip.at * scale + 1); frame.setAttribute("width", Math.max(2, lengthOf(clip) * scale - 2)); },
  };
};
