// Watches an update arrive: the table of ECUs is fetched again, and what changed is said once.
const wait = 2000;
async function look() {
  const table = document.getElementById("ecus");
  if (!table) return;
  try {
    const answer = await fetch(table.dataset.url, { credentials: "same-origin" });
    if (answer.ok && !answer.redirected) {
      const parsed = new DOMParser().parseFromString("<table>" + (await answer.text()) + "</table>", "text/html");
      const fresh = parsed.getElementById("ecus");
      if (fresh && fresh.dataset.state !== table.dataset.state) {
        table.replaceWith(fresh);
        document.getElementById("news").textContent = fresh.dataset.state;
      }
    }
  } catch {
    // the connection is away; the next look heals it
  }
  setTimeout(look, wait);
}
setTimeout(look, wait);
