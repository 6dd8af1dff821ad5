// Small helpers: elements, questions to the server, one running question of a kind.

export const byId = (id) => document.getElementById(id);

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") made.className = value;
    else if (name === "style") for (const [key, one] of Object.entries(value)) made.style.setProperty(key, one);
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made && name !== "list") made[name] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export const option = (value, text = value) => element("option", { value, textContent: text });

export async function ask(path, body) {
  let answer;
  try {
    answer = await fetch(`/api/${path}`, body === undefined ? {} : {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
  } catch {
    throw new Error("the server does not answer: was 'proxylm inspect' stopped?");
  }
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error?.message ?? `status ${answer.status}`);
  return content;
}

// Runs the newest of the given jobs; while one runs, of those that come only the last waits.
export function newest() {
  let running = false, waiting = null;
  return async function run(job) {
    if (running) { waiting = job; return; }
    running = true;
    try { await job(); } finally {
      running = false;
      if (waiting) { const next = waiting; waiting = null; run(next); }
    }
  };
}

export function say(where, message) {
  where.textContent = message ?? "";
  where.hidden = !message;
}

export const number = (value, digits = 2) =>
  value === null || value === undefined ? "–" : value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
export const count = (value) => value.toLocaleString("en");
export const percent = (share) => `${number(100 * share, share > 0 && share < 0.001 ? 2 : 1)} %`;
export const plural = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;
