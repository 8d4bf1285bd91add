// Keeps the waiting page up to date, and reloads the address when the workload is ready. In browsers
// without scripts the page reloads periodically.
(() => {
  "use strict";
  const initial = JSON.parse(document.getElementById("drowse-state").textContent);
  const live = initial.live;
  // Milliseconds between two polls.
  const POLL = 5000;
  // Milliseconds without an event until the page polls beside the stream. A stream sends the whole
  // state when it opens, and an event every 15 seconds.
  const SILENCE = 45000;
  const FIRST_EVENT = 8000;
  // Maximum seconds of a backoff.
  const MAX_BACKOFF = 60;
  let state = initial.progress;
  let since = performance.now();
  let source = null;
  // Time until which the stream counts as working without an event.
  let trustedUntil = 0;
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
  const setText = (part, text) => {
    for (const element of all(`[data-drowse="${part}"]`)) {
      // Screen readers repeat text that is written again.
      if (element.textContent !== text) element.textContent = text;
    }
  };

  // Counts the reloads of this address, so that an abandoned tab does not wake the workload for ever.
  const reloads = {
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
        // Storage is disabled; the reload is not counted.
      }
    },
  };

  // Keeps query and fragment, and adds no entry to the history.
  const reloadPage = () => {
    if (leaving) return;
    leaving = true;
    close();
    location.reload();
  };

  // Time of the next automatic reload: after the router's own retry, and later each time.
  let next = null;
  const scheduleReload = () => {
    next = null;
    const { tries, at } = reloads.read();
    if (state.state === "failed") {
      const backoff = Math.min(5 * 2 ** Math.min(tries, 6), 300);
      next = performance.now() + 1000 * Math.max(state.failure.retry_in || 0, backoff);
    } else if (state.state === "ready") {
      // The page reloaded a moment ago and the workload was not ready then: back off.
      const repeated = Date.now() - at < 3000;
      next = performance.now() + (repeated ? 1000 * Math.min(2 ** tries, MAX_BACKOFF) : 0);
    }
  };
  const reloadIfDue = () => {
    if (next === null || performance.now() < next || leaving) return;
    // A failed wake is retried only in a visible tab.
    if (state.state === "failed" && document.hidden) return;
    reloads.write(reloads.read().tries + 1);
    reloadPage();
  };

  const steps = (list) =>
    list.map(({ message, state }) => {
      const item = document.createElement("li");
      item.dataset.state = state;
      if (state === "now") item.setAttribute("aria-current", "step");
      item.append(message);
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
      const message = document.createElement("span");
      message.className = "message";
      message.append(need.message);
      item.append(name, " ", message);
      if (need.needs.length) item.append(tree(need.needs));
      tops.append(item);
    }
    return tops;
  };

  // The share of the usual time for the progress bar: it slows down near the end and never reaches 1.
  const progressShare = (elapsed, expected) => {
    const share = elapsed / expected;
    return share <= 0.9 ? share : 0.9 + 0.09 * (1 - Math.exp(-(share - 0.9) * 3));
  };

  // Updates the elapsed time between two events.
  const tick = () => {
    if (state.elapsed !== null) {
      const elapsed = state.elapsed + seconds();
      const usually = state.expected === null ? "" : `, usually about ${spoken(state.expected)}`;
      setText("time", `${spoken(Math.floor(elapsed))} so far${usually}`);
      for (const bar of all('progress[data-drowse="bar"]')) {
        if (state.state === "ready") bar.value = 100;
        else if (state.expected === null) bar.removeAttribute("value");
        else bar.value = 100 * progressShare(elapsed, state.expected);
      }
    }
    if (state.state === "failed" && next !== null) {
      const left = Math.ceil((next - performance.now()) / 1000);
      if (left > 0) setText("next", `The next try is in ${spoken(left)}.`);
      else setText("next", document.hidden ? "The next try is when this tab is visible." : "Trying again…");
    } else {
      setText("next", state.state === "asleep" ? "It is not being woken." : "");
    }
    if (source && !silent && performance.now() > trustedUntil) {
      silent = true;
      poll();
    }
    reloadIfDue();
  };

  let shown = "";
  const show = () => {
    document.documentElement.dataset.state = state.state;
    document.title = state.title;
    setText("title", state.title);
    setText("message", state.message);
    setText("logs", state.logs.join("\n"));
    const lists = JSON.stringify([state.steps, state.needs]);
    if (lists !== shown) {
      shown = lists;
      for (const list of all('[data-drowse="steps"]')) list.replaceChildren(...steps(state.steps));
      for (const list of all('[data-drowse="needs"]')) list.replaceChildren(tree(state.needs));
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
    showConnection();
    tick();
  };
  const update = (text) => {
    if (leaving) return;
    const before = state.state;
    state = JSON.parse(text);
    since = performance.now();
    lost = 0;
    if (state.state !== before) scheduleReload();
    show();
  };

  // Texts about the connection. During a wake the page announces that it opens by itself.
  const connectionTexts = {
    live: ["This page updates and opens by itself.", "This page updates by itself."],
    polling: [
      "This page updates every few seconds and opens by itself.",
      "This page updates every few seconds.",
    ],
    lost: "The connection is lost; this page keeps trying.",
    gone: "This page is loaded again in a moment.",
  };
  let connected = null;
  const showConnection = () => {
    if (connected === null) return;
    const opens = state.state === "working" || state.state === "ready";
    const text = connectionTexts[connected];
    setText("connection", Array.isArray(text) ? text[opens ? 0 : 1] : text);
  };
  const setConnection = (kind) => {
    connected = kind;
    document.documentElement.dataset.connection = kind;
    showConnection();
  };
  const schedule = (wait, action) => {
    clearTimeout(timer);
    timer = setTimeout(action, wait);
  };
  const close = () => {
    clearTimeout(timer);
    if (source) source.close();
    source = null;
  };
  // With jitter between a half and the whole, so that many pages do not return at once.
  const backoff = () => 1000 * Math.min(2 ** lost, MAX_BACKOFF) * (0.5 + Math.random() / 2);

  // Polls the state once, if there is no stream or it is silent.
  const poll = async () => {
    let unknown = false;
    try {
      const answer = await fetch(live.state, { cache: "no-store", credentials: "same-origin" });
      const json = (answer.headers.get("content-type") || "").includes("json");
      // The server does not know this page: the router was restarted, or the signature has expired.
      unknown = answer.status < 500 && answer.status !== 429 && !(answer.ok && json);
      if (!answer.ok || !json) throw new Error(answer.statusText);
      update(await answer.text());
      // A stream that has opened meanwhile replaces polling.
      if (source && !silent) return;
      setConnection("polling");
      schedule(POLL, document.hidden || source ? poll : follow);
    } catch {
      lost += 1;
      setConnection(unknown ? "gone" : "lost");
      // Reloading while no server answers would replace this page by the browser's error page.
      const reload = () => (document.hidden ? poll() : reloadPage());
      schedule(unknown ? 500 + 1000 * Math.random() : backoff(), unknown ? reload : poll);
    }
  };
  const follow = () => {
    close();
    if (leaving) return;
    // A hidden tab polls: browsers have few connections per host.
    if (document.hidden || !window.EventSource) return void poll();
    const own = new EventSource(live.events);
    source = own;
    let broken = false;
    silent = false;
    trustedUntil = performance.now() + FIRST_EVENT;
    const alive = () => {
      clearTimeout(timer);
      silent = false;
      broken = false;
      trustedUntil = performance.now() + SILENCE;
      setConnection("live");
    };
    own.addEventListener("alive", alive);
    own.addEventListener("progress", (event) => {
      alive();
      update(event.data);
    });
    own.addEventListener("error", () => {
      if (source !== own) return;
      if (own.readyState !== EventSource.CLOSED) {
        // The server ends streams after a while, and the browser reopens them.
        if (broken) setConnection("lost");
        broken = true;
        trustedUntil = Math.min(trustedUntil, performance.now() + FIRST_EVENT);
        return;
      }
      lost += 1;
      setConnection("lost");
      close();
      schedule(backoff(), poll);
    });
  };

  for (const link of all('[data-drowse="retry"]')) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      reloads.write(0);
      reloadPage();
    });
  }
  setInterval(tick, 250);
  scheduleReload();
  show();
  if (live) {
    document.addEventListener("visibilitychange", follow);
    window.addEventListener("pageshow", (event) => {
      // Restored from the history: the state is outdated.
      if (event.persisted) {
        leaving = false;
        follow();
      }
    });
    follow();
  } else {
    setConnection("polling");
    const wait = 1000 * (initial.reload * (0.75 + Math.random() / 2));
    const reload = () => (document.hidden ? schedule(wait, reload) : reloadPage());
    // In other states a reload would wake the workload.
    if (state.state === "working" || state.state === "ready") schedule(wait, reload);
  }
})();
