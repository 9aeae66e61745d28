"use strict";
(() => {
  const byId = (id) => document.getElementById(id);

  byId("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  const source = byId("token-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);

  // A token as the page stores it: [text, slot, accepted, copied, differs, target, draft, guided];
  // a distribution: [log-probability of the token, text, probability, text, probability, ...].
  const read = ([text, slot, accepted, copied, differs, target, draft, guided]) =>
    ({ text: data.texts[text], slot, accepted, copied, differs, target, draft, guided });

  const correction = (token) => {
    const other = token.guided || token.draft;
    if (!other || other[0] === null || token.target[0] === null) return null;
    return other[0] - token.target[0];
  };

  const make = (name, className, text) => {
    const element = document.createElement(name);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };

  // Longest common subsequence: pairs of equal tokens, with gaps where one answer has something of its own.
  const align = (left, right) => {
    const width = right.length + 1;
    const best = new Uint16Array((left.length + 1) * width);
    for (let i = left.length - 1; i >= 0; i--)
      for (let j = right.length - 1; j >= 0; j--)
        best[i * width + j] = left[i].text === right[j].text
          ? best[(i + 1) * width + j + 1] + 1
          : Math.max(best[(i + 1) * width + j], best[i * width + j + 1]);
    const pairs = [];
    let i = 0, j = 0;
    while (i < left.length || j < right.length) {
      const both = i < left.length && j < right.length;
      if (both && left[i].text === right[j].text) pairs.push([i++, j++]);
      else if (j >= right.length || (i < left.length && best[(i + 1) * width + j] >= best[i * width + j + 1]))
        pairs.push([i++, null]);
      else pairs.push([null, j++]);
    }
    // What both replaced stands under each other: a run of lone lefts beside the run of lone rights after it.
    const packed = [];
    for (let at = 0; at < pairs.length;) {
      if (pairs[at][0] !== null && pairs[at][1] !== null) { packed.push(pairs[at++]); continue; }
      const lone = [[], []];
      for (; at < pairs.length && (pairs[at][0] === null || pairs[at][1] === null); at++)
        pairs[at].forEach((index, side) => { if (index !== null) lone[side].push(index); });
      for (let k = 0; k < Math.max(lone[0].length, lone[1].length); k++)
        packed.push([lone[0][k] ?? null, lone[1][k] ?? null]);
    }
    return packed;
  };

  const shown = (text) => text.replace(/\n/g, "↵").replace(/\t/g, "⇥");

  const names = Object.fromEntries(data.arms);
  let answers = [];
  const pairsBox = byId("token-pairs");
  const detail = byId("token-detail");

  const tokenButton = (token, side, index) => {
    const button = make("button", "token", shown(token.text));
    button.type = "button";
    button.tabIndex = -1;
    button.dataset.side = side;
    button.dataset.index = index;
    const by = correction(token);
    if (by !== null && Math.abs(by) > 0.005) {
      button.classList.add(by > 0 ? "for" : "against");
      button.style.setProperty("--strength", `${Math.min(75, 10 + 25 * Math.abs(by)).toFixed(0)}%`);
    }
    return button;
  };

  const draw = () => {
    const task = data.tasks[Number(byId("token-task").value)];
    pairsBox.replaceChildren();
    detail.replaceChildren(make("p", "note", "Rest the pointer on a token, or move to it with the arrow keys."));
    answers = [];
    if (!task) {
      pairsBox.append(make("p", "note", "No task fits this choice."));
      byId("token-count").value = "";
      return;
    }
    const sides = ["token-left", "token-right"].map((id) => task.answers[byId(id).value]);
    answers = sides.map((side) => side.tokens.map(read));
    const named = make("div", "answers-named");
    sides.forEach((side, index) => {
      const state = side.passed === null ? "unscored" : side.passed ? "passed" : "failed";
      const line = make("span", "", `${index ? "lower" : "upper"} line: ${names[byId(index ? "token-right" : "token-left").value]}, `);
      line.append(make("span", state, state));
      if (side.cut) line.append(`, ${side.cut} more tokens not shown`);
      named.append(line);
    });
    pairsBox.append(named);
    for (const pair of align(answers[0], answers[1])) {
      const both = pair[0] !== null && pair[1] !== null && answers[0][pair[0]].text === answers[1][pair[1]].text;
      const column = make("div", both ? "pair" : "pair apart");
      pair.forEach((index, side) =>
        column.append(index === null ? make("span", "token", " ") : tokenButton(answers[side][index], side, index)));
      pairsBox.append(column);
      if (pair.some((index, side) => index !== null && answers[side][index].text.includes("\n")))
        pairsBox.append(make("div", "row-end"));
    }
    const first = pairsBox.querySelector("button.token");
    if (first) first.tabIndex = 0;
    filter();
  };

  const filter = () => {
    const wanted = [["only-differs", "differs"], ["only-copied", "copied"], ["only-accepted", "accepted"]]
      .filter(([id]) => byId(id).checked).map(([, name]) => name);
    let kept = 0, all = 0;
    for (const button of pairsBox.querySelectorAll("button.token")) {
      const token = answers[button.dataset.side][button.dataset.index];
      const fits = wanted.every((name) => token[name]);
      button.classList.toggle("faded", !fits);
      kept += fits;
      all++;
    }
    byId("token-count").value = `${kept} of ${all} tokens`;
  };

  const distribution = (name, values, chosen) => {
    const table = make("table");
    table.append(make("caption", "", name));
    const body = make("tbody");
    for (let at = 1; at < values.length; at += 2) {
      const row = make("tr", data.texts[values[at]] === chosen ? "chosen" : "");
      row.append(make("td", "", shown(data.texts[values[at]])), make("td", "", `${(100 * values[at + 1]).toFixed(2)} %`));
      body.append(row);
    }
    table.append(body);
    return table;
  };

  const show = (button) => {
    const token = answers[button.dataset.side][button.dataset.index];
    const by = correction(token);
    const facts = [
      `token ${Number(button.dataset.index) + 1}`,
      token.slot === 0 ? "drawn from the prefill" : `slot ${token.slot}, ${token.accepted ? "accepted" : "the target's own"}`,
      ...(token.copied ? ["context token"] : []),
      ...(token.differs ? ["guided differs from target"] : []),
      ...(by === null ? [] : [`correction ${by > 0 ? "+" : ""}${by.toFixed(3)}`]),
    ];
    const title = make("p");
    title.append(make("strong", "", `“${shown(token.text)}”`), ` ${facts.join(" · ")}`);
    detail.replaceChildren(title);
    for (const name of ["target", "draft", "guided"])
      if (token[name]) detail.append(distribution(name, token[name], token.text));
  };

  const rove = (button) => {
    for (const other of pairsBox.querySelectorAll('button.token[tabindex="0"]')) other.tabIndex = -1;
    button.tabIndex = 0;
    show(button);
  };

  pairsBox.addEventListener("pointerover", (event) => {
    const button = event.target.closest("button.token");
    if (button) show(button);
  });
  pairsBox.addEventListener("focusin", (event) => {
    const button = event.target.closest("button.token");
    if (button) rove(button);
  });
  pairsBox.addEventListener("keydown", (event) => {
    const button = event.target.closest("button.token");
    if (!button) return;
    const line = [...pairsBox.querySelectorAll(`button.token[data-side="${button.dataset.side}"]`)];
    const at = line.indexOf(button);
    const other = button.parentElement.querySelector(`button.token:not([data-side="${button.dataset.side}"])`);
    const next = { ArrowRight: line[at + 1], ArrowLeft: line[at - 1], ArrowUp: other, ArrowDown: other,
      Home: line[0], End: line[line.length - 1] }[event.key];
    if (next) { event.preventDefault(); next.focus(); }
  });

  const fill = (select, options, chosen) => {
    select.replaceChildren(...options.map(([value, text]) => {
      const option = make("option", "", text);
      option.value = value;
      return option;
    }));
    if (options.some(([value]) => String(value) === String(chosen))) select.value = chosen;
  };

  const listTasks = () => {
    const [left, right] = [byId("token-left").value, byId("token-right").value];
    const outcome = byId("token-outcome").value;
    const options = [];
    data.tasks.forEach((task, index) => {
      const [one, two] = [task.answers[left], task.answers[right]];
      if (!one || !two) return;
      if (outcome === "fixed" && !(one.passed === false && two.passed === true)) return;
      if (outcome === "broken" && !(one.passed === true && two.passed === false)) return;
      options.push([index, task.task]);
    });
    fill(byId("token-task"), options, byId("token-task").value);
    draw();
  };

  fill(byId("token-left"), data.arms, data.left);
  fill(byId("token-right"), data.arms, data.right);
  for (const id of ["token-left", "token-right", "token-outcome"]) byId(id).addEventListener("change", listTasks);
  byId("token-task").addEventListener("change", draw);
  for (const id of ["only-differs", "only-copied", "only-accepted"]) byId(id).addEventListener("change", filter);
  listTasks();
})();
