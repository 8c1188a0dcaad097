// Recordings: chosen by singer, technique, context; heard, seen, and clip by clip what the chosen conditions say.
if (clips.length) {
  const list = document.getElementById("takes"), place = document.getElementById("take");
  const choice = { singer: "", technique: "", context: "" };
  let found = takes, drawn = null, isFull = false, until = Infinity;
  const player = make("audio", { controls: true, preload: "none" });
  const title = make("h3"), about = make("p", { className: "quiet" }), silent = make("p", { className: "quiet" }, "This page does not hold its sound.");
  const figure = make("div", { tabIndex: 0, role: "group", className: "figure" }), table = make("div", { className: "wide", tabIndex: 0, role: "region", "aria-label": "Probabilities, clip by clip" });
  const step = (by) => {
    const next = view.clip.take.clips[view.clip.number + by];
    if (next) go({ clip: next }, true);
  };
  const stepTake = (by) => {
    const next = found[found.indexOf(view.clip.take) + by];
    if (next) go({ clip: next.clips[0] }, true);
  };
  const playClip = () => {
    hush();
    player.currentTime = view.clip.at;
    until = view.clip.at + lengthOf(view.clip);
    player.play().catch(() => {});
  };
  const tool = (text, title, act) => { const button = make("button", { type: "button", title }, text); button.addEventListener("click", act); return button; };
  const full = tool(`up to ${data.khz} kHz`, "show the whole range of frequencies", () => { isFull = !isFull; draw(); });
  full.hidden = !(data.khz > data.usual_khz);
  const play = tool("Play this clip", "space", playClip);
  const tools = make("div", { className: "tools" }, play, tool("◂ clip", "the clip before: left arrow", () => step(-1)), tool("clip ▸", "the next clip: right arrow", () => step(1)), tool("▴ recording", "the recording before: up arrow", () => stepTake(-1)), tool("recording ▾", "the next recording: down arrow", () => stepTake(1)), full);
  place.append(title, about, tools, figure, player, silent, table);
  const follow = () => {
    if (player.currentTime >= until) { player.pause(); until = Infinity; }
    if (drawn) drawn.place(player.currentTime);
    if (!player.paused) requestAnimationFrame(follow);
  };
  player.addEventListener("play", () => { hush(); follow(); });
  player.addEventListener("pause", () => { until = Infinity; });
  for (const event of ["seeking", "seeked", "timeupdate"]) player.addEventListener(event, () => drawn && drawn.place(player.currentTime));
  const seek = (time) => {
    const clip = view.clip.take.clips.findLast((one) => one.at <= time) || view.clip.take.clips[0];
    until = Infinity;
    if (clip !== view.clip) { kept = time; go({ clip }, true); } else moveTo(time);
  };
  let kept = null; // the second that a click asked for, while the address follows
  const moveTo = (time) => { if (view.clip.take.audio) player.currentTime = time; drawn.place(time); };
  const tabulate = () => {
    const { take } = view.clip;
    const head = make("tr", {}, make("th", { scope: "col" }, "From"), ...data.techniques.map((t) => make("th", { scope: "col", className: t === take.technique ? "true" : "" }, spoken(t))));
    const lines = take.clips.map((clip) => {
      const probabilities = clip.by[view.by];
      const cells = data.techniques.map((t, j) => {
        const share = probabilities ? probabilities[j] / 1000 : 0;
        const cell = make("td", { className: t === take.technique ? "heat true" : "heat" }, probabilities ? percent(share) : "—");
        cell.style.setProperty("--share", share);
        return cell;
      });
      const link = make("a", { href: addressOf(clip) }, seconds(clip.start));
      return make("tr", { className: clip === view.clip ? "chosen" : "" }, make("th", { scope: "row" }, link), ...cells);
    });
    const caption = make("caption", {}, `Probability of each technique in percent, ${data.conditions[view.by]}; sung: ${spoken(take.technique)}`);
    table.replaceChildren(make("table", {}, caption, make("thead", {}, head), make("tbody", {}, ...lines)));
  };
  const draw = () => {
    const { take } = view.clip;
    full.setAttribute("aria-pressed", isFull);
    drawn = drawPicture(take, isFull, seek);
    figure.setAttribute("aria-label", `${take.name}: arrow keys step through its clips and through the recordings, space plays the clip`);
    figure.replaceChildren(drawn.element);
    drawn.choose(view.clip);
    drawn.place(take.audio && player.src === take.audio ? player.currentTime : view.clip.at);
  };
  let before = null;
  const show = () => {
    const { clip } = view, { take } = clip, isOther = !before || before.clip.take !== take;
    if (isOther) {
      title.replaceChildren(...broken(take.name));
      about.textContent = `Sung: ${spoken(take.technique)}, by ${take.singer}${take.context && `, ${spoken(take.context)}`}`;
      player.pause();
      player.hidden = play.hidden = !take.audio;
      silent.hidden = Boolean(take.audio);
      take.audio ? (player.src = take.audio) : player.removeAttribute("src");
      player.setAttribute("aria-label", `Recording ${take.name}`);
      const chosen = [...list.querySelectorAll("button")].filter((button) => {
        button.setAttribute("aria-pressed", button.textContent === take.name);
        return button.textContent === take.name;
      })[0];
      if (chosen && (chosen.offsetTop < list.scrollTop || chosen.offsetTop > list.scrollTop + list.clientHeight - 40)) list.scrollTop = chosen.offsetTop - 60;
    }
    if (isOther || before.by !== view.by || before.against !== view.against) draw();
    if (!before || before.clip !== clip) {
      drawn.choose(clip);
      moveTo(kept ?? clip.at);
      kept = null;
    }
    tabulate();
    byOf.value = view.by;
    againstOf.value = view.against ?? "";
    before = { ...view };
  };
  const fill = () => {
    found = takes.filter((take) => Object.entries(choice).every(([key, wanted]) => !wanted || take[key] === wanted));
    list.replaceChildren(...found.map((take) => {
      const button = make("button", { type: "button" }, ...broken(take.name));
      button.setAttribute("aria-pressed", take === view.clip.take);
      button.addEventListener("click", () => go({ clip: take.clips[0] }));
      return make("li", {}, button);
    }));
    document.getElementById("takes-count").textContent = `${found.length} of ${takes.length} recordings`;
    if (found.length && !found.includes(view.clip.take)) go({ clip: found[0].clips[0] }, true);
  };
  for (const key of Object.keys(choice)) {
    const select = document.getElementById(`take-${key}`);
    const there = [...new Set(takes.map((take) => take[key]))].sort(natural);
    select.replaceChildren(make("option", { value: "" }, "all"), ...there.map((name) => make("option", { value: name }, spoken(name))));
    select.addEventListener("change", () => { choice[key] = select.value; fill(); });
  }
  const byOf = document.getElementById("take-by"), againstOf = document.getElementById("take-against");
  options(byOf, data.conditions);
  byOf.addEventListener("change", () => go({ by: Number(byOf.value) }));
  options(againstOf, data.conditions);
  againstOf.prepend(make("option", { value: "" }, "—"));
  againstOf.addEventListener("change", () => go({ against: againstOf.value === "" ? null : Number(againstOf.value) }));
  figure.addEventListener("keydown", (event) => {
    const act = { ArrowLeft: () => step(-1), ArrowRight: () => step(1), ArrowUp: () => stepTake(-1), ArrowDown: () => stepTake(1), " ": () => (player.paused ? playClip() : player.pause()) }[event.key];
    if (act) { event.preventDefault(); act(); }
  });
  watchers.push(() => {
    if (!found.includes(view.clip.take)) { // the address asks for one that is filtered out
      for (const key of Object.keys(choice)) { choice[key] = ""; document.getElementById(`take-${key}`).value = ""; }
      fill();
    }
    show();
  });
  fill();
  show();
  addEventListener("resize", draw);
}
