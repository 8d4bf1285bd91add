// Keeps the page of a waiting visitor up to date and brings the visitor to the same address when
// it can be answered. Without it the page reloads by itself.
(() => {
  "use strict";
  const begin = JSON.parse(document.getElementById("drowse-state").textContent);
  const live = begin.live;
  const POLL = 5000;
  // A stream says everything at once when it begins and that it is there every 15 seconds; it is
  // doubted when it is silent for so long.
  const SILENCE = 45000;
  const FIRST_WORD = 8000;
  const LONGEST = 60;
  let state = begin.progress;
  let since = performance.now();
  let source = null;
  // Until then the stream is believed without a word.
  let heard = 0;
  let silent = false;
  let lost = 0;
  let timer = 0;
  let leaving = false;

  const all = (selector) => document.querySelectorAll(selector);
  const seconds = () => (performance.now() - since) / 1000;
  const plural = (number, word) => number + " " + word + (number === 1 ? "" : "s");
  const spoken = (time) => {
    const whole = Math.round(time);
    if (whole < 120) return plural(whole, "second");
    if (whole < 7200) return plural(Math.floor(whole / 60), "minute");
    return plural(Math.floor(whole / 3600), "hour");
  };
  const say = (part, text) => {
    for (const element of all(`[data-drowse="${part}"]`)) {
      // A screen reader says again what is written again.
      if (element.textContent !== text) element.textContent = text;
    }
  };

  // How often this address was loaded again in vain, so that a tab left open does not wake for ever.
  const memory = {
    key: "drowse:" + location.pathname + location.search,
    read() {
      try {
        const held = JSON.parse(sessionStorage.getItem(this.key)) || { tries: 0, at: 0 };
        return Date.now() - held.at < 600000 ? held : { tries: 0, at: 0 };
      } catch {
        return { tries: 0, at: 0 };
      }
    },
    write(tries) {
      try {
        sessionStorage.setItem(this.key, JSON.stringify({ tries, at: Date.now() }));
      } catch {
        // The browser forbids it; then it is not counted.
      }
    },
  };

  // Query and fragment stay as they are, and no entry is added to the history.
  const again = () => {
    if (leaving) return;
    leaving = true;
    close();
    location.reload();
  };

  // When the next try comes by itself: not before the router tries again, later each time.
  let next = null;
  const plan = () => {
    next = null;
    const { tries, at } = memory.read();
    if (state.state === "failed") {
      const patience = Math.min(5 * 2 ** Math.min(tries, 6), 300);
      next = performance.now() + 1000 * Math.max(state.failure.retry_in || 0, patience);
    } else if (state.state === "ready") {
      // It was ready a moment ago, too, and then was not: no haste.
      const hasty = Date.now() - at < 3000;
      next = performance.now() + (hasty ? 1000 * Math.min(2 ** tries, LONGEST) : 0);
    }
  };
  const due = () => {
    if (next === null || performance.now() < next || leaving) return;
    // A failure is tried again only before somebody's eyes.
    if (state.state === "failed" && document.hidden) return;
    memory.write(memory.read().tries + 1);
    again();
  };

  const steps = (list) =>
    list.map(({ says, state }) => {
      const item = document.createElement("li");
      item.dataset.state = state;
      if (state === "now") item.setAttribute("aria-current", "step");
      item.append(says);
      return item;
    });
  const tree = (list) => {
    const tops = document.createElement("ul");
    for (const need of list) {
      const item = document.createElement("li");
      item.dataset.state = need.state;
      const name = document.createElement("span");
      name.className = "name";
      name.append(need.name);
      const words = document.createElement("span");
      words.className = "says";
      words.append(need.says);
      item.append(name, " ", words);
      if (need.needs.length) item.append(tree(need.needs));
      tops.append(item);
    }
    return tops;
  };

  // What has come of the time it usually takes; slower and slower near the end, never there.
  const part = (elapsed, expected) => {
    const share = elapsed / expected;
    return share <= 0.9 ? share : 0.9 + 0.09 * (1 - Math.exp(-(share - 0.9) * 3));
  };

  // What changes by itself between two events.
  const tick = () => {
    if (state.elapsed !== null) {
      const elapsed = state.elapsed + seconds();
      const usually = state.expected === null ? "" : `, usually about ${spoken(state.expected)}`;
      say("time", `${spoken(Math.floor(elapsed))} so far${usually}`);
      for (const bar of all('progress[data-drowse="bar"]')) {
        if (state.state === "ready") bar.value = 100;
        else if (state.expected === null) bar.removeAttribute("value");
        else bar.value = 100 * part(elapsed, state.expected);
      }
    }
    if (state.state === "failed" && next !== null) {
      const left = Math.ceil((next - performance.now()) / 1000);
      if (left > 0) say("next", `The next try is in ${spoken(left)}.`);
      else say("next", document.hidden ? "The next try is when you look here." : "Trying again…");
    } else {
      say("next", state.state === "asleep" ? "Nobody is waking it now." : "");
    }
    if (source && !silent && performance.now() > heard) {
      silent = true;
      look();
    }
    due();
  };

  let shown = "";
  const show = () => {
    document.documentElement.dataset.state = state.state;
    document.title = state.title;
    say("title", state.title);
    say("says", state.says);
    say("logs", state.logs.join("\n"));
    const lists = JSON.stringify([state.steps, state.needs]);
    if (lists !== shown) {
      shown = lists;
      for (const list of all('[data-drowse="steps"]')) list.replaceChildren(...steps(state.steps));
      for (const place of all('[data-drowse="needs"]')) place.replaceChildren(tree(state.needs));
    }
    const has = {
      time: state.elapsed !== null,
      steps: state.steps.length > 0,
      needs: state.needs.length > 0,
      logs: state.logs.length > 0,
      retry: state.state === "failed" || state.state === "asleep",
      failed: state.state === "failed",
    };
    for (const element of all("[data-drowse-if]")) {
      element.hidden = !has[element.dataset.drowseIf];
    }
    for (const log of all('[data-drowse="logs"]')) log.scrollTop = log.scrollHeight;
    tellConnection();
    tick();
  };
  const take = (text) => {
    if (leaving) return;
    const before = state.state;
    state = JSON.parse(text);
    since = performance.now();
    lost = 0;
    if (state.state !== before) plan();
    show();
  };

  // What the page does by itself. It promises to open only while somebody is waking the workload.
  const words = {
    live: ["This page follows along and opens by itself.", "This page shows when that changes."],
    polling: [
      "This page looks again every few seconds and opens by itself.",
      "This page looks every few seconds whether that changes.",
    ],
    lost: "The connection is lost; this page keeps trying.",
    gone: "This page is loaded again in a moment.",
  };
  let connected = null;
  const tellConnection = () => {
    if (connected === null) return;
    const opens = state.state === "working" || state.state === "ready";
    const told = words[connected];
    say("connection", Array.isArray(told) ? told[opens ? 0 : 1] : told);
  };
  const connection = (how) => {
    connected = how;
    document.documentElement.dataset.connection = how;
    tellConnection();
  };
  const later = (wait, what) => {
    clearTimeout(timer);
    timer = setTimeout(what, wait);
  };
  const close = () => {
    clearTimeout(timer);
    if (source) source.close();
    source = null;
  };
  // Somewhere between a half and the whole of it, so that a crowd does not come back as one.
  const backoff = () => 1000 * Math.min(2 ** lost, LONGEST) * (0.5 + Math.random() / 2);

  // One look, when there is no stream or it says nothing.
  const look = async () => {
    let stranger = false;
    try {
      const answer = await fetch(live.state, { cache: "no-store", credentials: "same-origin" });
      const json = (answer.headers.get("content-type") || "").includes("json");
      // Who answers does not know this page: the router was started anew, or it is too old.
      stranger = answer.status < 500 && answer.status !== 429 && !(answer.ok && json);
      if (!answer.ok || !json) throw new Error(answer.statusText);
      take(await answer.text());
      // Meanwhile a stream may have begun, which says everything from now on.
      if (source && !silent) return;
      connection("polling");
      later(POLL, document.hidden || source ? look : follow);
    } catch {
      lost += 1;
      connection(stranger ? "gone" : "lost");
      // Loaded again without anybody there to answer, this page would be lost, too.
      const reload = () => (document.hidden ? look() : again());
      later(stranger ? 500 + 1000 * Math.random() : backoff(), stranger ? reload : look);
    }
  };
  const follow = () => {
    close();
    if (leaving) return;
    // A tab that nobody sees leaves the few connections that a browser has to the others.
    if (document.hidden || !window.EventSource) return void look();
    const own = new EventSource(live.events);
    source = own;
    let broken = false;
    silent = false;
    heard = performance.now() + FIRST_WORD;
    const alive = () => {
      clearTimeout(timer);
      silent = false;
      broken = false;
      heard = performance.now() + SILENCE;
      connection("live");
    };
    own.addEventListener("alive", alive);
    own.addEventListener("progress", (event) => {
      alive();
      take(event.data);
    });
    own.addEventListener("error", () => {
      if (source !== own) return;
      if (own.readyState !== EventSource.CLOSED) {
        // Streams end now and then, and the browser takes them up again by itself.
        if (broken) connection("lost");
        broken = true;
        heard = Math.min(heard, performance.now() + FIRST_WORD);
        return;
      }
      lost += 1;
      connection("lost");
      close();
      later(backoff(), look);
    });
  };

  for (const link of all('[data-drowse="retry"]')) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      memory.write(0);
      again();
    });
  }
  setInterval(tick, 250);
  plan();
  show();
  if (live) {
    document.addEventListener("visibilitychange", follow);
    window.addEventListener("pageshow", (event) => {
      // Back from the history: what was known is old.
      if (event.persisted) {
        leaving = false;
        follow();
      }
    });
    follow();
  } else {
    connection("polling");
    const wait = 1000 * (begin.reload * (0.75 + Math.random() / 2));
    const reload = () => (document.hidden ? later(wait, reload) : again());
    // What has failed or sleeps would be woken.
    if (state.state === "working" || state.state === "ready") later(wait, reload);
  }
})();
