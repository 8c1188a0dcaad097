// Confusions: a matrix of the chosen condition, in percent of the true technique and in clips over all seeds.
chooser("matrix-of", data.confusions.map((c) => c.label), (k) => {
  const { label, techniques, counts } = data.confusions[k];
  const by = data.conditions.indexOf(label);
  const open = (sung, named) => () => {
    const each = (clip) => clip.seeds[by].filter((j) => data.techniques[j] === named).length;
    const members = clips.filter((clip) => clip.take.technique === sung && each(clip)).sort((a, b) => each(b) - each(a));
    const title = sung === named ? `${spoken(sung)}, named rightly` : `${spoken(sung)} taken for ${spoken(named)}`;
    openList(title, [[label, members.map((clip) => [clip, ofSeeds(each(clip), clip.seeds[by])])]], [by]);
  };
  const head = make("tr", {}, make("th", { scope: "col" }, "True \\ named"), ...techniques.map((t) => make("th", { scope: "col" }, spoken(t))));
  const lines = counts.map((row, r) => {
    const total = row.reduce((a, b) => a + b, 0);
    const cells = row.map((count, c) => {
      const text = total && count ? `${percent(count / total)} % (${count})` : "";
      const cell = make("td", { className: "heat" }, text && by >= 0 ? opener(text, `clips of ${spoken(techniques[r])} named ${spoken(techniques[c])}`, open(techniques[r], techniques[c])) : text);
      cell.style.setProperty("--share", total ? count / total : 0);
      return cell;
    });
    return make("tr", {}, make("th", { scope: "row" }, spoken(techniques[r])), ...cells);
  });
  const caption = make("caption", {}, `${label}: percent of the true technique's clips, and clips over all seeds. A number opens its clips.`);
  document.getElementById("matrix").replaceChildren(make("table", {}, caption, make("thead", {}, head), make("tbody", {}, ...lines)));
});
