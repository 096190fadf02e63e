// The form that tries a call of the API. Without scripts, the page is a reference to read.
const dialog = document.getElementById("try");
const form = dialog.querySelector("form");
const status = document.getElementById("try-status");
const answerText = document.getElementById("try-answer");
const API = "/api/v1/";
const MAX_SHOWN = 100_000; // characters of an answer
let method = "GET";

for (const button of document.querySelectorAll("[data-try]")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    method = button.dataset.try;
    document.getElementById("try-method").textContent = method;
    form.elements.path.value = button.dataset.path;
    form.elements.body.value = button.dataset.body ?? "";
    document.getElementById("try-has-body").hidden = button.dataset.body === undefined;
    status.textContent = "";
    answerText.hidden = true;
    dialog.showModal();
    form.elements.path.focus();
  });
}
form.querySelector("[data-closes]").addEventListener("click", () => dialog.close());

// Only our own API: the token of the form must not leave for another address.
function address() {
  const url = new URL(form.dataset.root + form.elements.path.value.trim(), location.origin);
  const isOurs = url.origin === location.origin && url.pathname.startsWith(form.dataset.root + API);
  if (!isOurs) throw new Error(`The path must begin with ${API}`);
  if (/%7B|\{/i.test(url.pathname)) throw new Error("Put an id in the place of each name in {braces}.");
  return url;
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  answerText.hidden = true;
  try {
    const headers = { Accept: "application/json" };
    const key = form.elements.key.value.trim();
    if (key) headers.Authorization = `Bearer ${key}`;
    else headers["X-CSRFToken"] = form.elements.csrfmiddlewaretoken.value;
    const body = form.elements.body.value.trim();
    if (body) headers["Content-Type"] = "application/json";
    const url = address();
    status.textContent = "Sent, waiting for the answer…";
    const answer = await fetch(url, {
      method,
      headers,
      body: method === "GET" || !body ? undefined : body,
      credentials: key ? "omit" : "same-origin",
      signal: AbortSignal.timeout(30_000),
    });
    status.textContent = `${answer.status} ${answer.statusText}`;
    answerText.textContent = pretty(await answer.text()).slice(0, MAX_SHOWN);
    answerText.hidden = !answerText.textContent;
  } catch (error) {
    status.textContent = error.message;
  }
});

// A link to a call or a schema opens it.
function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target?.matches("details")) target.open = true;
}
addEventListener("hashchange", openTarget);
openTarget();
