"use strict";
// What fires, what did lately, and how the webhooks fare: the event `alerts`, as GET /v1/alerts.

function dayAndTime(at) {
  const then = new Date(at * 1000);
  return then.toDateString() === new Date().toDateString() ? then.toLocaleTimeString() : then.toLocaleString();
}

function alertItem(alert) {
  const when = alert.status === "firing" ? `since ${dayAndTime(alert.since)}` : `${dayAndTime(alert.since)} to ${dayAndTime(alert.resolvedAt)}`;
  const mark = {resolved: "idle", firing: alert.severity === "critical" ? "bad" : "warn"}[alert.status];
  return element("li", {className: "row", title: alert.description},
    element("span", {className: `state ${mark}`}, alert.status === "firing" ? alert.severity : "over"),
    element("strong", {}, alert.name), element("span", {}, alert.summary), element("span", {className: "dim"}, when));
}

function webhookItem(hook) {
  const told = hook.rules === null ? "all alerts" : hook.rules.join(", ");
  const lost = [hook.waiting ? `${hook.waiting} waiting` : "", hook.lost ? `${hook.lost} lost` : ""].filter(Boolean).join(", ");
  return element("li", {className: "row"},
    element("span", {className: `state ${hook.well ? "good" : "bad"}`}, hook.well ? "well" : "failing"),
    element("strong", {}, hook.name), element("span", {className: "dim"}, `${hook.host}, ${hook.format}, ${told}`),
    element("span", {}, hook.state), element("span", {}, lost));
}

function showAlerts({firing, recent, webhooks, problem: lost}) {
  const critical = firing.some(alert => alert.severity === "critical");
  const count = byId("alerts-count"), text = lost ? "not looked for" : firing.length ? `${firing.length} firing` : "none";
  count.className = `state ${lost || critical ? "bad" : firing.length ? "warn" : "good"}`;
  if (count.textContent !== text) count.textContent = text;
  if (lost) byId("alerts-said").textContent = lost;
  document.title = firing.length ? `(${firing.length}) dubrelay` : "dubrelay";
  byId("alerts-firing").replaceChildren(...firing.map(alertItem));
  byId("alerts-webhooks").replaceChildren(...(webhooks.length ? webhooks.map(webhookItem) :
    [element("li", {className: "dim"}, "No webhook is told: [[alerts.webhooks]] in the settings names them.")]));
  byId("alerts-recent").replaceChildren(...recent.map(alertItem));
  byId("alerts-test").hidden = !steers || !webhooks.length;
  byId("alerts").hidden = false;
}

byId("alerts-test").addEventListener("click", async () => {
  const said = byId("alerts-said"), button = byId("alerts-test");
  button.disabled = true;
  said.textContent = "A test is sent to each webhook ...";
  try {
    const {results} = await tell("/v1/alerts/test", "POST");
    said.textContent = results.map(result => `${result.name}: ${result.said}`).join("; ");
  } catch (error) {
    said.textContent = `Not tested: ${error.message}`;
  }
  button.disabled = false;
});
