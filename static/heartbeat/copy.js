// COPY buttons: copy the exact text of a field, even if the asynchronous clipboard is missing or refused.
async function copyText(field) {
  try {
    await navigator.clipboard.writeText(field.value);
    return true;
  } catch {
    field.focus();
    field.setSelectionRange(0, field.value.length);
    return document.execCommand("copy");
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  const field = document.getElementById(button.dataset.copy);
  const status = document.getElementById(button.dataset.says);
  const copied = await copyText(field);
  button.focus();
  if (!status) return;
  status.textContent = copied ? "Copied" : "Could not copy: select the text and press Ctrl+C.";
  status.classList.toggle("failed", !copied);
});
