// Two conditions clip by clip: what both name rightly, one alone, or neither, by technique and by singer.
if (data.conditions.length > 1) {
  const byOf = document.getElementById("compare-by"), againstOf = document.getElementById("compare-against");
  const place = document.getElementById("compare-table"), verdict = document.getElementById("compare-says");
  const rival = () => (view.against !== null && view.against !== view.by ? view.against : view.by ? 0 : 1);
  const KINDS = ["both right", "fixed", "broken", "both wrong"];
  const kindOf = (clip, by, against) => KINDS[2 * !isRight(clip, by) + !isRight(clip, against)];
  const show = () => {
    const by = view.by, against = rival(), [name, other] = [data.conditions[by], data.conditions[against]];
    byOf.value = by;
    againstOf.value = against;
    const shared = clips.filter((clip) => clip.named[by] !== null && clip.named[against] !== null);
    const open = (kind, within, members) => () => {
      if (view.against !== against) go({ against }, true);
      view.against = against; // for the links of the list, before the address is followed
      openList(`${within ? `${within}: ` : ""}${kind}`, [[`${name} against ${other}`, alone(members)]], [by, against]);
    };
    const count = (kind, within = "", of = shared) => {
      const members = of.filter((clip) => kindOf(clip, by, against) === kind);
      return make("td", { className: kind.replace(" ", "-") }, members.length ? opener(`${members.length}`, `${kind} clips${within && `, ${within}`}`, open(kind, within, members)) : "0");
    };
    const size = (kind) => shared.filter((clip) => kindOf(clip, by, against) === kind).length;
    const corner = (text, scope) => make("th", { scope }, text);
    const rows = [["right", "both right", "broken"], ["wrong", "fixed", "both wrong"]].map(([word, ...kinds]) => make("tr", {}, corner(`${other} ${word}`, "row"), ...kinds.map((kind) => {
      const cell = count(kind);
      cell.append(make("small", {}, ` ${kind}`));
      return cell;
    })));
    const square = make("table", { className: "square" }, make("caption", {}, `${counted(shared.length, "test clip")}. A number opens its clips.`), make("thead", {}, make("tr", {}, make("td"), corner(`${name} right`, "col"), corner(`${name} wrong`, "col"))), make("tbody", {}, ...rows));
    const divided = (title, groups) => {
      const lines = groups.map(([group, members]) => {
        const change = members.filter((clip) => kindOf(clip, by, against) === "fixed").length - members.filter((clip) => kindOf(clip, by, against) === "broken").length;
        return make("tr", {}, make("th", { scope: "row" }, group), ...KINDS.map((kind) => count(kind, group, members)), make("td", {}, change > 0 ? `+${change}` : `${change}`.replace("-", "−")));
      });
      return make("div", { className: "wide", tabIndex: 0, role: "region", "aria-label": `Fixed and broken by ${title.toLowerCase()}` }, make("table", {}, make("thead", {}, make("tr", {}, corner(title, "col"), ...KINDS.map((kind) => corner(kind, "col")), corner("fixed − broken", "col"))), make("tbody", {}, ...lines)));
    };
    const groupsOf = (key, names, words) => names.map((one) => [words(one), shared.filter((clip) => clip.take[key] === one)]).filter(([, members]) => members.length);
    place.replaceChildren(make("div", { className: "wide", tabIndex: 0, role: "region", "aria-label": "Clips that either condition names rightly or wrongly" }, square), make("div", { className: "side-by-side" }, divided("Technique", groupsOf("technique", data.techniques, spoken)), divided("Singer", groupsOf("singer", singers, String))));
    const p = data.mcnemar[by][against], [fixed, broken] = [size("fixed"), size("broken")];
    verdict.textContent = fixed + broken ? `${name} names ${counted(fixed, "clip")} rightly that ${other} does not, and ${broken} the other way round: McNemar's exact p ${p < 0.001 ? "< 0.001" : `= ${p.toFixed(3)}`}.` : `${name} and ${other} are right on the same clips.`;
  };
  for (const select of [byOf, againstOf]) options(select, data.conditions);
  byOf.addEventListener("change", () => go({ by: Number(byOf.value), against: rival() === Number(byOf.value) ? view.by : rival() }));
  againstOf.addEventListener("change", () => go({ against: Number(againstOf.value), by: Number(againstOf.value) === view.by ? rival() : view.by }));
  watchers.push(show);
  show();
}
