// One line about what is going on. Gradio calls this once; props.value is { message, detail, fraction, error }.
const root = element.querySelector(".tsa-status");
const message = root.querySelector(".message");
const progress = root.querySelector("progress");
const update = () => {
  const status = props.value ?? {};
  if (message.textContent !== status.message) message.textContent = status.message ?? ""; // is read out when it changes
  root.querySelector(".detail").textContent = status.detail ?? "";
  root.classList.toggle("error", Boolean(status.error));
  progress.hidden = status.fraction === null || status.fraction === undefined;
  if (!progress.hidden) progress.value = status.fraction;
};
watch("value", update);
update();
