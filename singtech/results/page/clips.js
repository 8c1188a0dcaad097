// Clips: what is looked at stands in the address, #clip=RECORDING@START&by=CONDITION&against=CONDITION, so that it can be
// kept or sent, and back works. `go` changes the address, `restore` follows it, and `watchers` show what it asks for.
const takes = data.recordings;
const clips = takes.flatMap((take) => {
  take.clips.forEach((clip, number) => Object.assign(clip, { take, number, at: clip.start - take.clips[0].start }));
  take.seconds ||= take.clips.at(-1).at + (data.clip_seconds || 1);
  return take.clips;
});
const view = { clip: clips[0], by: 0, against: null };
const watchers = [];
const encoded = (text) => encodeURIComponent(text).replaceAll("%2F", "/").replaceAll("%2C", ",").replaceAll("%20", "+");
const addressOf = (clip, by = view.by, against = view.against) => {
  const other = against === null ? "" : `&against=${encoded(data.conditions[against])}`;
  return `#clip=${encoded(clip.take.name)}@${clip.start}&by=${encoded(data.conditions[by])}${other}`;
};
const go = (changes, replace = false) => {
  const next = { ...view, ...changes };
  const address = addressOf(next.clip, next.by, next.against);
  replace ? location.replace(address) : (location.hash = address);
};
const restore = (isOpening = false) => {
  if (!location.hash.startsWith("#clip=")) return;
  const asked = new URLSearchParams(location.hash.slice(1));
  const [recording, start] = asked.get("clip").split(/@(?=[^@]*$)/);
  const same = clips.filter((clip) => clip.take.name === recording);
  const clip = same.find((one) => one.start === Number(start)) || same[0] || view.clip, lost = document.getElementById("takes-lost");
  if (!clip) return;
  lost.textContent = same.length ? "" : `The address asks for ${recording}, which is not here.`;
  const isMoved = clip !== view.clip;
  const condition = (name, other) => (data.conditions.includes(asked.get(name)) ? data.conditions.indexOf(asked.get(name)) : other);
  Object.assign(view, { clip, by: condition("by", view.by), against: condition("against", null) });
  watchers.forEach((show) => show());
  const place = document.getElementById("take");
  if ((isMoved || isOpening) && place) place.scrollIntoView({ block: "nearest" });
};
addEventListener("hashchange", () => restore());
document.addEventListener("click", (event) => { // a link to where one is already
  const link = event.target.closest("a[href^='#clip=']");
  if (link && link.hash === location.hash) document.getElementById("take").scrollIntoView({ block: "nearest" });
});

// Techniques and singers have colours that the colour-blind tell apart (Paul Tol's muted), and shapes.
const palette = ["#332288", "#88ccee", "#44aa99", "#117733", "#999933", "#ddcc77", "#cc6677", "#882255", "#aa4499", "#bbbbbb"];
const colour = (k) => palette[k % palette.length];
const inkOn = (k) => (["#332288", "#117733", "#882255", "#aa4499"].includes(colour(k)) ? "#fff" : "#000");
const isRight = (clip, by) => data.techniques[clip.named[by]] === clip.take.technique;
const saysOf = (clip, by) => { // "✗ vibrato"
  const k = clip.named[by];
  return k === null ? "not tested" : `${isRight(clip, by) ? "✓" : "✗"} ${spoken(data.techniques[k])}`;
};
const shareOf = (clip, by) => (clip.by[by] ? `${percent(clip.by[by][clip.named[by]] / 1000)} %` : "");
const seconds = (value) => `${Number(value.toFixed(2))} s`;
const lengthOf = (clip) => Math.min(data.clip_seconds || 1, clip.take.seconds - clip.at);
const broken = (name) => name.split(/(?<=[/_])/).flatMap((part, n) => (n ? [make("wbr"), part] : [part])); // where a long name may break
const counted = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;

// Heard: one sound at a time, of a recording from a second to a second; `tick` is called while it sounds.
const sound = new Audio();
let hearing = null;
const hush = (isOver = false) => {
  const { stopped } = hearing || {};
  hearing = null;
  sound.pause();
  if (stopped) stopped(isOver);
};
const hear = (clip, tick, stopped) => {
  hush();
  document.querySelectorAll("audio").forEach((other) => other.pause());
  if (!clip.take.audio) return;
  if (sound.src !== clip.take.audio) sound.src = clip.take.audio;
  sound.currentTime = clip.at;
  const own = (hearing = { stopped });
  const follow = () => {
    if (hearing !== own) return;
    if (sound.ended || sound.currentTime >= clip.at + lengthOf(clip)) return hush(true);
    tick((sound.currentTime - clip.at) / lengthOf(clip));
    requestAnimationFrame(follow);
  };
  sound.play().then(follow, () => {});
};
